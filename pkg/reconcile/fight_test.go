package reconcile_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/test/faults"
)

// fight lets a pod undo something ten times per second for d, and the agent reconcile after each.
func (r *fixture) fight(d time.Duration, undo func()) reconcile.Outcome {
	r.t.Helper()
	var out reconcile.Outcome
	for range int(d / (100 * time.Millisecond)) {
		undo()
		out, _ = r.converge()
		r.clock.turn(100 * time.Millisecond)
	}
	return out
}

// inspected is the status that another process reports: agent status.
func (r *fixture) inspected() bond.Status {
	r.t.Helper()
	out, err := reconcile.New(reconcile.Config{Kernel: r.Fake, Store: r.store, Now: r.clock.Now}).Inspect(r.t.Context(), r.Record.Key)
	must(r.t, err)
	return out.Status
}

// TestFightIsBounded: a bond that is set down ten times per second for a minute causes a bounded number of repairs,
// announcements and log lines. It is reported as fought over, and repaired when that ends.
func TestFightIsBounded(t *testing.T) {
	for name, undo := range map[string]func(*fixture){
		"bond set down":     func(r *fixture) { must(r.t, r.SetDown(scenario.PodPath, scenario.BondIf)) },
		"bond deleted":      func(r *fixture) { _ = r.DeleteBond(scenario.PodPath, scenario.BondIf) },
		"option":            func(r *fixture) { must(r.t, r.SetOption(scenario.PodPath, scenario.BondIf, bond.OptMiimon, "200")) },
		"member set down":   func(r *fixture) { must(r.t, r.SetDown(scenario.PodPath, "net1")) },
		"member released":   func(r *fixture) { _ = r.Release(scenario.PodPath, "net2") },
		"addresses flushed": func(r *fixture) { must(r.t, r.FlushAddresses(scenario.PodPath, scenario.BondIf)) },
	} {
		t.Run(name, func(t *testing.T) {
			r := ready(t, scenario.OKD())
			core, logs := observer.New(zap.InfoLevel)
			r.engine = reconcile.New(reconcile.Config{Kernel: r.Fake, Store: r.store, IPAM: r.ipam, Now: r.clock.Now, Log: zap.New(core)})
			actions := map[string]int{}
			r.BeforeApply(func(a plan.Action) { actions[plan.Kind(a)]++ })
			out := r.fight(time.Minute, func() { undo(r) })
			for kind, n := range actions {
				if n > 3*13 { // of the bond and two members
					t.Errorf("%d times %s in a minute", n, kind)
				}
			}
			if n := logs.Len(); n > 100 {
				t.Errorf("%d log lines in a minute", n)
			}
			last, err := r.converge()
			for i := 0; err == nil && last.RetryAfter > 0 && i < 10; i++ {
				r.clock.turn(last.RetryAfter)
				last, err = r.converge()
			}
			count := func(message string) int { return logs.FilterMessage(message).Len() }
			if losses, repairs := count("bond damaged")+count("member lost"), count("bond recovered")+count("member recovered"); losses == 0 && name != "option" && name != "addresses flushed" || losses != repairs {
				t.Errorf("%d losses and %d repairs are logged (%v)", losses, repairs, err)
			}
			contested := len(out.Record.Contested) > 0 // and so the fight is over
			if warned := strings.Contains(strings.Join(out.Status.Warnings, " "), "keeps undoing repairs"); !contested && (!warned || out.Status.Fighting == 0) {
				t.Errorf("not reported: %+v", out.Status)
			}
			if shown := r.inspected(); shown.Fighting != out.Status.Fighting || !slices.Equal(shown.Warnings, out.Status.Warnings) {
				t.Errorf("agent status shows %d fights and warnings %q, the agent %d and %q", shown.Fighting, shown.Warnings, out.Status.Fighting, out.Status.Warnings)
			}
			r.wantState(bond.StateReady)
			r.clock.turn(time.Minute)
			if out := r.wantState(bond.StateReady); out.Status.Fighting != 0 || r.inspected().Fighting != 0 {
				t.Errorf("still reported as fought over: %+v", out.Status)
			}
		})
	}
}

// TestFightLeavesEssentialsAlone: a pod whose addresses are fought over gets its lost VF and its deleted bond back
// immediately.
func TestFightLeavesEssentialsAlone(t *testing.T) {
	r := ready(t, scenario.OKD())
	r.fight(10*time.Second, func() { must(t, r.SetDown(scenario.PodPath, scenario.BondIf)) })
	must(t, r.UnbindVF(r.VFs[0]))
	_, _ = r.converge()
	must(t, r.BindVF(r.VFs[0]))
	if out, _ := r.converge(); len(out.Unattached()) > 0 {
		t.Errorf("unattached: %v", out.Unattached())
	}
	must(t, r.DeleteBond(scenario.PodPath, scenario.BondIf))
	out, _ := r.converge()
	if out.Observed.Bond == nil || len(out.Unattached()) > 0 {
		t.Errorf("bond %v, unattached %v", out.Observed.Bond, out.Unattached())
	}
	r.wantState(bond.StateReady)
}

// TestFaultsOfOneMemberAreNoFight: after each of several faults of the active member it is active again immediately.
func TestFaultsOfOneMemberAreNoFight(t *testing.T) {
	r := ready(t, scenario.OKD())
	chosen := 0
	r.BeforeApply(func(a plan.Action) {
		if _, ok := a.(plan.SetActive); ok {
			chosen++
		}
	})
	released := func() error { return r.Release(scenario.PodPath, "net1") }
	down := func() error { return r.SetDown(scenario.PodPath, "net1") }
	deleted := func() error { return r.DeleteBond(scenario.PodPath, scenario.BondIf) }
	for i, fault := range []func() error{released, down, deleted, released, down} {
		must(t, fault())
		out, err := r.converge()
		if err != nil || out.Status.State != bond.StateReady || out.RetryAfter != 0 || out.Status.Active != "net1" {
			t.Errorf("fault %d: %q is active, %s: %s, again after %s, %v", i, out.Status.Active, out.Status.State, out.Status.Reason, out.RetryAfter, err)
		}
		r.clock.turn(time.Second)
	}
	if chosen <= 3 {
		t.Errorf("the active member was chosen %d times, which no budget limits", chosen)
	}
}

// fullStore is a store whose disk becomes full.
type fullStore struct {
	reconcile.Store
	full bool
}

func (s *fullStore) Save(r *bond.Record) error {
	if s.full {
		return unix.ENOSPC
	}
	return s.Store.Save(r)
}

// TestEndOfAFightThatCannotBeSavedIsReported although the bond no longer needs repair.
func TestEndOfAFightThatCannotBeSavedIsReported(t *testing.T) {
	r := ready(t, scenario.OKD())
	s := &fullStore{Store: r.store}
	r.engine = reconcile.New(reconcile.Config{Kernel: r.Fake, Store: s, IPAM: r.ipam, Now: r.clock.Now})
	if out := r.fight(10*time.Second, func() { must(t, r.SetDown(scenario.PodPath, scenario.BondIf)) }); len(out.Record.Fights) == 0 {
		t.Fatalf("no fight: %+v", out.Status)
	}
	r.clock.turn(10 * time.Second)
	r.wantState(bond.StateReady) // repaired; the fight is over a while after the last repair
	s.full = true
	r.clock.turn(time.Minute)
	out, err := r.converge()
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), r.Record.BondName()) {
		t.Errorf("with fights %v and actions %v: %v", out.Record.Fights, out.Plan.Actions, err)
	}
	s.full = false
	if out := r.wantState(bond.StateReady); len(out.Record.Fights) > 0 {
		t.Errorf("still recorded: %v", out.Record.Fights)
	}
}

// TestFaultsOfAllKindsAreNoFight: different faults in a row are each repaired immediately.
func TestFaultsOfAllKindsAreNoFight(t *testing.T) {
	r := ready(t, scenario.OKD())
	for _, f := range faults.Rows() {
		if len(f.Steps) != 1 || f.Member {
			continue
		}
		must(t, f.Steps[0].Do(r.Bond(), 0))
		if out, err := r.converge(); err != nil || out.Status.State != bond.StateReady || out.RetryAfter != 0 {
			t.Errorf("%s: %s: %s, %v", f.Name, out.Status.State, out.Status.Reason, err)
		}
		r.clock.turn(4 * time.Second)
	}
}
