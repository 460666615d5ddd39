package reconcile_test

import (
	"errors"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// announcements counts announcements; one without carrier is an error, because it would be lost.
func (r *fixture) announcements() *int {
	n := new(int)
	r.BeforeApply(func(a plan.Action) {
		if _, is := a.(plan.Announce); !is {
			return
		}
		*n++
		if l, _ := r.Link(scenario.PodPath, scenario.BondIf); !l.Carrier {
			r.t.Errorf("announced without carrier\n%s", r.Node)
		}
	})
	return n
}

func (r *fixture) setCarriers(on bool) {
	for _, pf := range []string{"ens1", "ens2"} {
		must(r.t, r.SetPFCarrier(pf, on))
	}
}

// TestAnnouncedWhenCarrierArrives: addresses that were set without carrier are announced once it is there, by whichever
// process reconciles then. A failure is not retried.
func TestAnnouncedWhenCarrierArrives(t *testing.T) {
	for name, fails := range map[string]bool{"sent": false, "not sent": true} {
		t.Run(name, func(t *testing.T) {
			r := newFixture(t, scenario.OKD())
			n := r.announcements()
			r.FailApplyIf(func(a plan.Action) error {
				if _, is := a.(plan.Announce); is && fails {
					return errors.New("no buffer space available")
				}
				return nil
			})
			phase := func(p bond.Phase) {
				must(t, r.engine.Update(t.Context(), r.Record.Key, func(rec *bond.Record) error { rec.Phase = p; return nil }))
			}
			phase(bond.PhaseAdding)
			r.setCarriers(false)
			if out := r.wantState(bond.StateDown); *n != 0 || !out.Record.AnnounceDue || len(out.Plan.Actions) > 0 {
				t.Fatalf("%d announcements, due %t, left to do: %v", *n, out.Record.AnnounceDue, out.Plan.Actions)
			}
			phase(bond.PhaseReady)
			r.restart()
			r.setCarriers(true)
			for range 2 {
				if out := r.wantState(bond.StateReady); *n != 1 || out.Record.AnnounceDue {
					t.Fatalf("%d announcements, due %t; want one", *n, out.Record.AnnounceDue)
				}
			}
		})
	}
}

// TestAnnouncedAfterARepairWithoutCarrier: a bond that lost its carrier with its members is announced when it is back.
func TestAnnouncedAfterARepairWithoutCarrier(t *testing.T) {
	r := ready(t, bond.Options{bond.OptMode: "balance-xor", bond.OptMiimon: "100"})
	n := r.announcements()
	for _, vf := range r.VFs[:2] {
		must(t, r.UnbindVF(vf))
	}
	r.wantState(bond.StateDown)
	r.setCarriers(false)
	for _, vf := range r.VFs[:2] {
		must(t, r.BindVF(vf))
	}
	if r.wantState(bond.StateDown); *n != 0 {
		t.Fatalf("%d announcements without carrier", *n)
	}
	r.setCarriers(true)
	if r.wantState(bond.StateReady); *n != 1 {
		t.Fatalf("%d announcements, want one", *n)
	}
	r.setCarriers(false)
	r.wantState(bond.StateDown)
	r.setCarriers(true)
	if r.wantState(bond.StateReady); *n != 1 {
		t.Errorf("%d announcements after a cable was pulled, want one: nothing was repaired", *n)
	}
}

// TestAnnouncedAfterAMember: a MAC that is set in the round that enslaves a member, in which the bond's addresses are not
// read, is announced once they are.
func TestAnnouncedAfterAMember(t *testing.T) {
	r := ready(t, bond.Options{bond.OptMode: "active-backup", bond.OptMiimon: "100"})
	n := r.announcements()
	must(t, errors.Join(r.Release(scenario.PodPath, "net2"), r.SetMAC(scenario.PodPath, scenario.BondIf, "02:00:00:00:00:77")))
	for range 2 {
		if out := r.wantState(bond.StateReady); *n != 1 || out.Record.AnnounceDue {
			t.Fatalf("%d announcements, due %t; want one", *n, out.Record.AnnounceDue)
		}
	}
}
