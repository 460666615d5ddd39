package reconcile

import (
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// TestActiveMemberAfterEachRepair: a VF has its carrier some time after it was set up, so a reconcile of its own makes it the
// active member. That is limited per repair, not over all repairs.
func TestActiveMemberAfterEachRepair(t *testing.T) {
	rec := &bond.Record{Phase: bond.PhaseReady, Members: []bond.Member{{Name: "net1"}}}
	state := newRepairStates(Timing{}.withDefaults()).of(rec.Key)
	choice := plan.SetActive{}
	now := time.Unix(1e9, 0)
	affordable := func() bool {
		r := newRepairRun(rec)
		at := state.budgetTime(r, choice, now)
		if at.IsZero() {
			state.charge(r, choice, now)
		}
		return at.IsZero()
	}
	for rec.Repairs.Count < 6 {
		if !affordable() {
			t.Errorf("after repair %d the active member is not chosen", rec.Repairs.Count)
		}
		rec.Repairs.Count++
	}
	for range fightBurst {
		affordable()
	}
	if affordable() {
		t.Error("one repair does not limit the choices of the active member")
	}
}
