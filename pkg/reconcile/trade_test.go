package reconcile_test

import (
	"slices"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile/internal/world"
)

// TestMACsAreTradedAmongMembers: where members trade MACs on a failover, they have the recorded ones after every loss, in whatever
// order they return. The kernel gives a member a random MAC if it is enslaved with the one that the active member has now.
func TestMACsAreTradedAmongMembers(t *testing.T) {
	for _, options := range []bond.Options{
		{bond.OptMode: "active-backup", bond.OptMiimon: "100", bond.OptFailOverMac: "follow"},
		{bond.OptMode: "balance-tlb", bond.OptMiimon: "100"},
		{bond.OptMode: "balance-alb", bond.OptMiimon: "100"},
	} {
		for _, lost := range [][]int{{0}, {1}, {0, 1}, {1, 0}} {
			for _, back := range [][]int{{0, 1}, {1, 0}} {
				r := ready(t, options)
				var want []bond.MAC
				for i := range r.Record.Members {
					r.Record.Members[i].VF.Settings.Trust = new(true)
					must(t, r.SetVF(r.VFs[i], bond.VFSettings{Trust: new(true)}))
					want = append(want, r.Record.Members[i].MAC)
				}
				r.update(func(rec *bond.Record) { rec.Members = r.Record.Clone().Members })
				for range 2 { // the second time they begin with traded MACs
					for _, i := range lost {
						must(t, r.UnbindVF(r.VFs[i]))
						r.patient()
					}
					for _, i := range back {
						must(t, r.BindVF(r.VFs[i]))
						r.patient()
					}
				}
				r.wantState(bond.StateReady)
				var have []bond.MAC
				for _, m := range r.Record.Members {
					l, _ := r.Link(world.PodPath, m.Name)
					have = append(have, l.MAC)
				}
				slices.Sort(have)
				if !slices.Equal(have, want) {
					t.Errorf("%s, lost %v, back %v: MACs %v, want %v", options, lost, back, have, want)
				}
				if l, _ := r.Link(world.PodPath, world.BondIf); l.MAC != r.Record.Spec.MAC {
					t.Errorf("%s, lost %v, back %v: the bond has MAC %s, want %s", options, lost, back, l.MAC, r.Record.Spec.MAC)
				}
			}
		}
	}
}
