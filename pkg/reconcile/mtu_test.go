package reconcile_test

import (
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
)

// TestFailoverOfAnMTUChangeIsUndone: a driver that resets its VF to change the MTU causes a failover. It is undone,
// because a repair caused it, and the bond would keep another MAC.
func TestFailoverOfAnMTUChangeIsUndone(t *testing.T) {
	for name, link := range map[string]string{"member's MTU": "net1", "bond's MTU": scenario.BondIf} {
		t.Run(name, func(t *testing.T) {
			r := ready(t, scenario.OKD())
			must(t, r.SetMTU(scenario.PodPath, link, 1280))
			must(t, r.SetPFCarrier(scenario.Cards[0], false))
			must(t, r.SetPFCarrier(scenario.Cards[0], true))
			if out := r.wantState(bond.StateReady); out.Status.Active != "net1" || out.Status.MAC != r.Record.Spec.MAC {
				t.Fatalf("active %s with MAC %s, want net1 with %s\n%s", out.Status.Active, out.Status.MAC, r.Record.Spec.MAC, r.Node)
			}
		})
	}
}
