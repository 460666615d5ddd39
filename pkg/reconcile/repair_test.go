package reconcile_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

func always() bool { return true }

func (r *fixture) repair() bool {
	r.t.Helper()
	out, err := r.engine.Repair(r.t.Context(), r.Record.Key, always)
	must(r.t, err)
	return out.Unverified
}

// TestRepairIsVerifiedLater: Repair enslaves a lost member and does not see what became of it. The loss is open until
// the next call.
func TestRepairIsVerifiedLater(t *testing.T) {
	r := ready(t, scenario.OKD())
	if r.repair() {
		t.Error("nothing was repaired, and it is unverified")
	}
	must(t, r.Release(scenario.PodPath, "net2"))
	if !r.repair() {
		t.Fatal("the repair was verified at once")
	}
	if l, _ := r.Link(scenario.PodPath, "net2"); l.Master == 0 {
		t.Errorf("net2 is not in the bond\n%s", r.Node)
	}
	rec, err := r.store.Load(r.Record.Key)
	must(t, err)
	if len(rec.Repairs.Open) != 1 || rec.Repairs.Count != 0 {
		t.Errorf("before it is verified: %+v", rec.Repairs)
	}
	r.clock.turn(time.Second)
	out, err := r.converge()
	must(t, err)
	if out.Status.State != bond.StateReady || out.Record.Repairs.Count != 1 || len(out.Applied) != 0 {
		t.Errorf("state %s, repairs %+v, applied %v", out.Status.State, out.Record.Repairs, out.Applied)
	}
}

// TestRepairLeavesOnlyVerification: what a repair has to do is done in the same call. What could not be done is tried
// again there, too.
func TestRepairLeavesOnlyVerification(t *testing.T) {
	for name, lose := range map[string]func(*fixture) error{
		"bond deleted": func(r *fixture) error { return r.DeleteBond(scenario.PodPath, scenario.BondIf) },
		"overtaken": func(r *fixture) error {
			r.FailApply(1, bond.ErrStale)
			return r.Release(scenario.PodPath, "net2")
		},
		"member, and the bond is down": func(r *fixture) error {
			return errors.Join(r.Release(scenario.PodPath, "net2"), r.SetDown(scenario.PodPath, scenario.BondIf))
		},
		"member, and the address is not read": func(r *fixture) error {
			r.HideNetwork(1)
			return errors.Join(r.Release(scenario.PodPath, "net2"), r.FlushAddresses(scenario.PodPath, scenario.BondIf))
		},
		"member and a bond that is down, overtaken": func(r *fixture) error {
			tried := false
			r.FailApplyIf(func(a plan.Action) error {
				if _, is := a.(plan.AddRoute); !is || tried {
					return nil
				}
				tried = true
				return bond.ErrStale
			})
			return errors.Join(r.Release(scenario.PodPath, "net2"), r.SetDown(scenario.PodPath, scenario.BondIf))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := ready(t, scenario.OKD())
			must(t, lose(r))
			r.repair()
			left, err := r.converge()
			must(t, err)
			if len(left.Applied) > 0 || left.Status.State != bond.StateReady {
				t.Errorf("left to do: %v; state %s\n%s", left.Applied, left.Status.State, r.Node)
			}
		})
	}
}

// TestUnverifiedRepairsAreBounded: a member that is lost again before each verification is repaired as seldom as one
// that is lost after it.
func TestUnverifiedRepairsAreBounded(t *testing.T) {
	for name, lose := range map[string]func(*fixture) error{
		"released":          func(r *fixture) error { return r.Release(scenario.PodPath, "net2") },
		"moved to the host": func(r *fixture) error { return r.MoveToHost(scenario.PodPath, "net2") },
	} {
		t.Run(name, func(t *testing.T) {
			r := ready(t, scenario.OKD())
			repairs := 0
			r.BeforeApply(func(a plan.Action) {
				if _, is := a.(plan.Enslave); is {
					repairs++
				}
			})
			for range 600 {
				_ = lose(r)
				_, _ = r.engine.Repair(t.Context(), r.Record.Key, always)
				r.clock.turn(100 * time.Millisecond)
			}
			if repairs > 2*13 || repairs < 8 {
				t.Errorf("%d repairs in a minute", repairs)
			}
		})
	}
}

// TestSavedRecordIsNoNews: a record is known as long as it is as the last reconcile saved it.
func TestSavedRecordIsNoNews(t *testing.T) {
	r := ready(t, scenario.OKD())
	saved := func() bool {
		rec, err := r.store.Load(r.Record.Key)
		must(t, err)
		return r.engine.Saved(rec)
	}
	must(t, r.Release(scenario.PodPath, "net2"))
	r.wantState(bond.StateReady)
	if !saved() {
		t.Error("the record of a reconcile counts as changed")
	}
	must(t, r.engine.Update(t.Context(), r.Record.Key, func(*bond.Record) error { return nil }))
	if saved() {
		t.Error("an update by somebody else does not count as a change")
	}
	must(t, r.Release(scenario.PodPath, "net2"))
	rec := r.wantState(bond.StateReady).Record
	rec.Phase = bond.PhaseDeleting // as the store shows a marked record
	if r.engine.Saved(rec) {
		t.Error("a mark of its deletion does not count as a change")
	}
}

// TestMemberBeforeAddresses: a member is enslaved before the bond's addresses are read, and what they lack is restored by
// the verification. Where no member can be enslaved, they are read at once.
func TestMemberBeforeAddresses(t *testing.T) {
	r := ready(t, scenario.OKD())
	lose := func() error {
		return errors.Join(r.Release(scenario.PodPath, "net2"), r.FlushAddresses(scenario.PodPath, scenario.BondIf))
	}
	must(t, lose())
	out, err := r.engine.Repair(t.Context(), r.Record.Key, always)
	must(t, err)
	if !out.Unverified || len(out.Applied) != 1 || !out.Observed.Bond.ReadLater {
		t.Fatalf("unverified %t, applied %v, addresses unread: %q", out.Unverified, out.Applied, out.Observed.Bond.Unread)
	}
	if out, err = r.converge(); err != nil || out.Status.State != bond.StateReady || len(out.Observed.Bond.Addresses) == 0 {
		t.Errorf("the verification: state %s, %v, error %v\n%s", out.Status.State, out.Observed.Bond.Addresses, err, r.Node)
	}
	r.clock.turn(time.Minute)
	must(t, lose())
	r.FailApplyIf(func(a plan.Action) error {
		if _, is := a.(plan.Enslave); is {
			return unix.EPERM
		}
		return nil
	})
	if out, err = r.converge(); !errors.Is(err, unix.EPERM) || out.Observed.Bond.Unread != "" || len(out.Observed.Bond.Addresses) == 0 {
		t.Errorf("the member cannot be enslaved: error %v, addresses %v (unread: %q)", err, out.Observed.Bond.Addresses, out.Observed.Bond.Unread)
	}
}

// TestInspectReadsAddresses: also while a member is to be attached, because Inspect attaches none.
func TestInspectReadsAddresses(t *testing.T) {
	r := ready(t, scenario.OKD())
	must(t, errors.Join(r.Release(scenario.PodPath, "net2"), r.FlushAddresses(scenario.PodPath, scenario.BondIf)))
	out, err := r.engine.Inspect(t.Context(), r.Record.Key)
	must(t, err)
	added := slices.ContainsFunc(out.Plan.Actions, func(a plan.Action) bool { _, is := a.(plan.AddAddress); return is })
	if out.Observed.Bond.Unread != "" || !added {
		t.Errorf("unread: %q; planned: %v", out.Observed.Bond.Unread, out.Plan.Actions)
	}
}
