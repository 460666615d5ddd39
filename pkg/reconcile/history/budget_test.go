package history

import (
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// TestActiveMemberAfterEachRepair: a VF gets its carrier some time after it was set up, so a separate reconcile makes
// it the active member. That is limited per repair, not over all repairs.
func TestActiveMemberAfterEachRepair(t *testing.T) {
	rec := &bond.Record{Phase: bond.PhaseReady, Members: []bond.Member{{Name: "net1"}}}
	h := New(Timing{}).Of(rec.Key)
	choice := plan.SetActive{}
	now := time.Unix(1e9, 0)
	affordable := func() bool {
		r := h.Begin(rec)
		at := r.budgetTime(choice, now)
		if at.IsZero() {
			r.charge(choice, now)
		}
		return at.IsZero()
	}
	for rec.Repairs.Count < 6 {
		if !affordable() {
			t.Errorf("after repair %d the active member is not chosen", rec.Repairs.Count)
		}
		rec.Repairs.Count++
	}
	for range budgetBurst {
		affordable()
	}
	if affordable() {
		t.Error("one repair does not limit the choices of the active member")
	}
}
