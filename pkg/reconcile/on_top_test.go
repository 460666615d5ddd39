package reconcile_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
)

// Links on top of a bond are deleted with it. They are reported until all are back.
func TestLinksOnTopAreReported(t *testing.T) {
	r := ready(t, scenario.OKD())
	for _, name := range []string{"vlan1", "vlan2", "vlan3"} {
		must(t, r.AddMacvlan(r.Path(), name, scenario.BondIf))
	}
	r.wantState(bond.StateReady)
	must(t, r.DeleteLink(r.Path(), "vlan3")) // by its creator
	r.wantState(bond.StateReady)
	repairs := r.convergeUntilIdle().Status.Repairs
	must(t, r.DeleteBond(r.Path(), scenario.BondIf))
	for _, want := range []string{"vlan1, vlan2;", "vlan2;"} {
		out := r.wantState(bond.StateDegraded)
		if !strings.Contains(out.Status.Reason, want) || strings.Contains(out.Status.Reason, "vlan3") {
			t.Errorf("reason %q, want %q", out.Status.Reason, want)
		}
		if len(out.Record.Repairs.Open) != 0 || out.Status.Repairs <= repairs || out.Record.Restoring {
			t.Errorf("the bond itself is repaired: %+v", out.Record.Repairs)
		}
		r.restart()
		name, _, _ := strings.Cut(strings.TrimSuffix(want, ";"), ",")
		must(t, r.AddMacvlan(r.Path(), name, scenario.BondIf))
	}
	r.wantState(bond.StateReady)
	must(t, r.DeleteLink(r.Path(), "vlan1"))
	r.wantState(bond.StateReady)
}

// A pod can have created any number of links on top of its bond. The reason, which is logged, names some of them.
func TestManyLinksOnTopAreNotAllNamed(t *testing.T) {
	r := ready(t, scenario.OKD())
	for i := range 500 {
		must(t, r.AddMacvlan(r.Path(), fmt.Sprintf("a-long-name-%03d", i), scenario.BondIf))
	}
	r.wantState(bond.StateReady)
	must(t, r.DeleteBond(r.Path(), scenario.BondIf))
	reason := r.wantState(bond.StateDegraded).Status.Reason
	if len(reason) > 512 || !strings.Contains(reason, "a-long-name-007 and 492 more;") {
		t.Errorf("a reason of %d bytes: %.600s", len(reason), reason)
	}
}
