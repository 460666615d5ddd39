package reconcile_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// TestMACsAreSwappedAmongMembers: if members swap MACs on a failover, they have the recorded ones after every loss, in
// whatever order they return. The kernel gives a member a random MAC if it is enslaved with the active member's current
// one.
func TestMACsAreSwappedAmongMembers(t *testing.T) {
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
				for range 2 { // the second time they start with swapped MACs
					for _, i := range lost {
						must(t, r.UnbindVF(r.VFs[i]))
						r.convergeUntilIdle()
					}
					for _, i := range back {
						must(t, r.BindVF(r.VFs[i]))
						r.convergeUntilIdle()
					}
				}
				r.wantState(bond.StateReady)
				var have []bond.MAC
				for _, m := range r.Record.Members {
					l, _ := r.Link(scenario.PodPath, m.Name)
					have = append(have, l.MAC)
				}
				slices.Sort(have)
				if !slices.Equal(have, want) {
					t.Errorf("%s, lost %v, back %v: MACs %v, want %v", options, lost, back, have, want)
				}
				if l, _ := r.Link(scenario.PodPath, scenario.BondIf); l.MAC != r.Record.Spec.MAC {
					t.Errorf("%s, lost %v, back %v: the bond has MAC %s, want %s", options, lost, back, l.MAC, r.Record.Spec.MAC)
				}
			}
		}
	}
}

// trading is a ready bond of trusted VFs in a mode in which members swap MACs.
func trading(t *testing.T, options bond.Options) *fixture {
	t.Helper()
	r := ready(t, options)
	r.clock.turn(2 * time.Minute) // since ADD
	return r
}

// wantMACs fails unless the bond is Ready with its recorded MAC, each recorded MAC is on one member, and the active one
// has the bond's.
func (r *fixture) wantMACs(when string) {
	r.t.Helper()
	r.wantState(bond.StateReady)
	var have, want []bond.MAC
	for _, m := range r.Record.Members {
		l, _ := r.Link(scenario.PodPath, m.Name)
		have, want = append(have, l.MAC), append(want, m.MAC)
		if b := r.observedBond(); l.Index == b.Active && l.MAC != b.MAC {
			r.t.Errorf("%s: the active member %s has MAC %s, the bond %s", when, m.Name, l.MAC, b.MAC)
		}
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		r.t.Errorf("%s: MACs %v, want %v", when, have, want)
	}
	if got := r.observedBond().MAC; got != r.Record.Spec.MAC {
		r.t.Errorf("%s: the bond has MAC %s, want %s", when, got, r.Record.Spec.MAC)
	}
}

// TestMembersHaveDifferentMACs: in balance-tlb the kernel swaps MACs without setting them on the cards. So a VF whose
// driver resets its card has another member's MAC.
func TestMembersHaveDifferentMACs(t *testing.T) {
	for _, mode := range []string{"balance-tlb", "balance-alb"} {
		r := trading(t, bond.Options{bond.OptMode: mode, bond.OptMiimon: "100"})
		for _, step := range []struct {
			what string
			do   func() error
		}{
			{"net2 reset", func() error { return r.SetMTU(scenario.PodPath, "net2", 1300) }},
			{"net1 down", func() error { return r.SetDown(scenario.PodPath, "net1") }},
			{"net1 reset", func() error { return r.SetMTU(scenario.PodPath, "net1", 1300) }},
			{"net2 down", func() error { return r.SetDown(scenario.PodPath, "net2") }},
			{"bond reset", func() error { return r.SetMTU(scenario.PodPath, scenario.BondIf, 1300) }},
			{"another MAC of the bond", func() error { return r.SetMAC(scenario.PodPath, scenario.BondIf, "02:00:00:00:00:99") }},
			{"all members down", func() error {
				return errors.Join(r.SetDown(scenario.PodPath, "net1"), r.SetDown(scenario.PodPath, "net2"))
			}},
		} {
			must(t, step.do())
			r.wantMACs(mode + ", " + step.what)
		}
	}
}

// TestMACOfTheActiveMemberIsRetained: the kernel fails over to a member after it was observed and before its own MAC is
// set.
func TestMACOfTheActiveMemberIsRetained(t *testing.T) {
	r := trading(t, bond.Options{bond.OptMode: "balance-tlb", bond.OptMiimon: "100"})
	must(t, r.SetMTU(scenario.PodPath, "net2", 1300))
	stale := false
	r.BeforeApply(func(a plan.Action) {
		if _, ok := a.(plan.SetMAC); ok && !stale {
			stale = true
			must(t, r.SetDown(scenario.PodPath, "net1"))
		}
	})
	r.wantMACs("after a failover")
	if !stale {
		t.Error("no MAC was set")
	}
}

// TestMACThatIsRejected: if a driver rejects a member's own MAC, setting it is retried with growing pauses, and
// reported.
func TestMACThatIsRejected(t *testing.T) {
	r := trading(t, bond.Options{bond.OptMode: "balance-tlb", bond.OptMiimon: "100"})
	must(t, r.SetMTU(scenario.PodPath, "net2", 1300))
	tries := 0
	r.FailApplyIf(func(a plan.Action) error {
		if _, ok := a.(plan.SetMAC); !ok {
			return nil
		}
		tries++
		return unix.EADDRNOTAVAIL
	})
	out := r.fight(time.Minute, func() {})
	if tries > 10 || out.Status.State != bond.StateStuck || !strings.Contains(out.Status.Reason, "net2 (0000:02:10.0) has the same MAC 02:00:00:00:00:01 as net1 (0000:01:10.0): ") {
		t.Errorf("%d tries in a minute; %s: %s", tries, out.Status.State, out.Status.Reason)
	}
	r.FailApplyIf(nil)
	r.wantMACs("when the driver takes it")
}

// TestMACThatIsUndone: a member that gets another member's MAC ten times per second is repaired within a budget, and
// reported.
func TestMACThatIsUndone(t *testing.T) {
	r := trading(t, bond.Options{bond.OptMode: "balance-tlb", bond.OptMiimon: "100"})
	repairs := 0
	r.BeforeApply(func(plan.Action) { repairs++ })
	out := r.fight(time.Minute, func() { must(t, r.SetMAC(scenario.PodPath, "net2", r.Record.Spec.MAC)) })
	if repairs > 15 || out.Status.Fighting != 1 {
		t.Errorf("%d repairs in a minute, %d fights", repairs, out.Status.Fighting)
	}
	r.wantMACs("when it is left alone")
}
