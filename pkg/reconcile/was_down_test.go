package reconcile_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
)

// TestDownForAMoment: a bond that is set down and up again before it is observed has lost its routes, those of other
// writers too. They are restored however often that happens: no other writer has removed them.
func TestDownForAMoment(t *testing.T) {
	r := ready(t, scenario.OKD())
	extra := bond.Route{Dst: netip.MustParsePrefix("198.51.100.0/24")}
	must(t, r.AddRoute(scenario.PodPath, scenario.BondIf, extra))
	r.wantState(bond.StateReady)
	for n := range 6 {
		must(t, errors.Join(r.SetDown(scenario.PodPath, scenario.BondIf), r.SetUp(scenario.PodPath, scenario.BondIf)))
		r.clock.turn(5 * time.Second)
		out := r.wantState(bond.StateReady)
		if len(out.Record.Contested) > 0 || len(out.Record.Routes) != 2 || len(out.Record.Learned.Routes) != 1 {
			t.Fatalf("down for the %d times: contested %v, routes %v, learned %v", n+1, out.Record.Contested, out.Record.Routes, out.Record.Learned.Routes)
		}
		for _, want := range []bond.Route{out.Record.Routes[0], extra} {
			if !r.hasRoute(want.Dst) {
				t.Fatalf("down for the %d times: route %s is missing\n%s", n+1, want, r.Node)
			}
		}
	}
	if out := r.wantState(bond.StateReady); out.Record.Restoring {
		t.Error("still restoring")
	}
}

func (r *fixture) hasRoute(dst netip.Prefix) bool {
	out, err := r.converge()
	must(r.t, err)
	for i := range out.Observed.Bond.Routes {
		if out.Observed.Bond.Routes[i].Dst == dst {
			return true
		}
	}
	return false
}
