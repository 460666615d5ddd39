package reconcile_test

import (
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

// TestReturningPrimaryDoesNotPreempt: a primary that stays inactive after a failure (primaryReselect) also does so
// after a repair.
func TestReturningPrimaryDoesNotPreempt(t *testing.T) {
	for reselect, want := range map[string]string{"always": "net1", "failure": "net2", "better": "net2"} {
		t.Run(reselect, func(t *testing.T) {
			r := ready(t, bond.Options{bond.OptMode: "active-backup", bond.OptMiimon: "100", bond.OptPrimary: "net1", bond.OptPrimaryReselect: reselect})
			must(t, r.UnbindVF(r.VFs[0]))
			r.wantState(bond.StateDegraded)
			must(t, r.BindVF(r.VFs[0]))
			preempted := false
			r.BeforeApply(func(plan.Action) { preempted = preempted || r.active() == "net1" })
			out := r.wantState(bond.StateReady)
			if out.Status.Active != want || reselect != "always" && preempted {
				t.Fatalf("active %s (preempted on the way: %t), want %s", out.Status.Active, preempted, want)
			}
			if l, _ := r.Link(scenario.PodPath, "net1"); l.PCI != r.VFs[0] {
				t.Fatalf("net1 is %+v", l)
			}
		})
	}
}

// TestPrimaryOfARecreatedBondDoesNotPreempt: so does a primary that was away when its bond was created. The kernel does not
// know its name, and makes a member active that is made the primary.
func TestPrimaryOfARecreatedBondDoesNotPreempt(t *testing.T) {
	for reselect, want := range map[string]string{"always": "net1", "failure": "net2", "better": "net2"} {
		t.Run(reselect, func(t *testing.T) {
			r := ready(t, bond.Options{bond.OptMode: "active-backup", bond.OptMiimon: "100", bond.OptPrimary: "net1", bond.OptPrimaryReselect: reselect})
			must(t, r.UnbindVF(r.VFs[0]))
			must(t, r.DeleteBond(scenario.PodPath, scenario.BondIf))
			r.wantState(bond.StateDegraded)
			must(t, r.BindVF(r.VFs[0]))
			out := r.wantState(bond.StateReady)
			if out.Status.Active != want || out.Observed.Bond.Options[bond.OptPrimary] != "net1" {
				t.Errorf("active %s, want %s; primary %q", out.Status.Active, want, out.Observed.Bond.Options[bond.OptPrimary])
			}
			must(t, r.SetPFCarrier(scenario.Cards[1], false))
			if out = r.convergeUntilIdle(); out.Status.Active != "net1" {
				t.Errorf("after the loss of the other: active %s", out.Status.Active)
			}
		})
	}
}

// active returns the name of the active member.
func (r *fixture) active() string {
	obs, err := r.Observe(r.t.Context(), r.Record)
	must(r.t, err)
	if obs.Bond != nil {
		return obs.Bond.Options[bond.OptActiveSlave]
	}
	return ""
}

// TestActiveSlaveAppliesUntilSettled: activeSlave is applied once, as soon as it can be, and then dropped.
func TestActiveSlaveAppliesUntilSettled(t *testing.T) {
	for _, mode := range []string{"active-backup", "balance-tlb", "balance-alb"} {
		t.Run(mode, func(t *testing.T) {
			r := newFixture(t, bond.Options{bond.OptMode: mode, bond.OptMiimon: "100", bond.OptActiveSlave: "net2"})
			must(t, r.SetPFCarrier(scenario.Cards[1], false))
			if out := r.convergeUntilIdle(); out.Record.Settled || active(&out) != "net1" {
				t.Fatalf("before it carries: settled %t, active %s", out.Record.Settled, active(&out))
			}
			must(t, r.SetPFCarrier(scenario.Cards[1], true))
			if out := r.wantState(bond.StateReady); !out.Record.Settled || active(&out) != "net2" {
				t.Fatalf("when it carries: settled %t, active %s", out.Record.Settled, active(&out))
			}
			must(t, r.UnbindVF(r.VFs[1]))
			r.convergeUntilIdle()
			must(t, r.BindVF(r.VFs[1]))
			must(t, r.SetNumVFs(scenario.Cards[0], 0)) // the kernel chooses the active member
			must(t, r.SetNumVFs(scenario.Cards[0], 2))
			r.wantState(bond.StateReady)
			changes := r.Changes()
			must(t, r.SetOption(scenario.PodPath, scenario.BondIf, bond.OptActiveSlave, "net1"))
			out := r.wantState(bond.StateReady)
			if active(&out) != "net1" || r.Changes() != changes {
				t.Errorf("later: active %s, %v", active(&out), r.ChangeLog()[changes:])
			}
		})
	}
}

func active(out *reconcile.Outcome) string {
	for i, m := range out.Observed.Members {
		if m.Link.Index == out.Observed.Bond.Active {
			return out.Record.Members[i].Name
		}
	}
	return "none"
}
