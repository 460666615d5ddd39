package reconcile_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
)

// TestUnrecordedLoss: a route that a record cannot describe was lost with the bond. That is reported until it is there
// again. All else is restored, and what the pod then deletes on purpose is not.
func TestUnrecordedLoss(t *testing.T) {
	r := ready(t, scenario.OKD())
	extra := bond.Route{Dst: netip.MustParsePrefix("198.51.100.0/24")}
	special := []bond.Route{{Dst: netip.MustParsePrefix("203.0.113.0/24"), Special: true}}
	must(t, errors.Join(r.AddRoute(scenario.PodPath, scenario.BondIf, extra), r.AddRoutes(scenario.PodPath, scenario.BondIf, special)))
	r.wantState(bond.StateReady)
	must(t, r.DeleteBond(scenario.PodPath, scenario.BondIf))
	if out := r.wantState(bond.StateStuck); out.Record.Restoring || !r.hasRoute(extra.Dst) {
		t.Fatalf("after the loss: restoring %v\n%s", out.Record.Restoring, r.Node)
	}
	must(t, r.DeleteRoute(scenario.PodPath, scenario.BondIf, extra.Dst))
	if out := r.wantState(bond.StateStuck); r.hasRoute(extra.Dst) || len(out.Record.Learned.Routes) != 0 {
		t.Errorf("a deleted route was restored: learned %v", out.Record.Learned.Routes)
	}
	must(t, r.AddRoutes(scenario.PodPath, scenario.BondIf, special))
	if out := r.wantState(bond.StateReady); out.Record.Learned.Lost != nil {
		t.Errorf("still lost: %+v", out.Record.Learned.Lost)
	}
}
