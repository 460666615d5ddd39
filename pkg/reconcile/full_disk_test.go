package reconcile_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/test/faults"
)

// TestRepairsOnAFullDisk: a loss that cannot be recorded is repaired and reported nevertheless, with all that other
// writers had configured. It is an error until the record can be saved.
func TestRepairsOnAFullDisk(t *testing.T) {
	for name, lose := range map[string]func(r *fixture) error{
		"VF":   func(r *fixture) error { return errors.Join(r.UnbindVF(r.VFs[0]), r.BindVF(r.VFs[0])) },
		"bond": func(r *fixture) error { return r.DeleteBond(scenario.PodPath, scenario.BondIf) },
		"down": func(r *fixture) error { return r.SetDown(scenario.PodPath, scenario.BondIf) },
	} {
		t.Run(name, func(t *testing.T) {
			r := ready(t, scenario.OKD())
			other := bond.Route{Dst: netip.MustParsePrefix("203.0.113.0/24"), Table: new(100)}
			must(t, r.AddRoute(scenario.PodPath, scenario.BondIf, other))
			r.wantState(bond.StateReady)
			s := &fullStore{Store: r.store, full: true}
			r.engine = reconcile.New(reconcile.Config{Kernel: r.Fake, Store: s, IPAM: r.ipam, Now: r.clock.Now, Downs: r.Downs})
			must(t, lose(r))
			out, err := r.converge()
			if !errors.Is(err, unix.ENOSPC) || out.Status.State != bond.StateReady || len(out.Applied) == 0 {
				t.Errorf("state %q (%s), applied %v, error %v", out.Status.State, out.Status.Reason, out.Applied, err)
			}
			if out, _ = r.converge(); len(out.Applied) > 0 {
				t.Errorf("applied again: %v", out.Applied)
			}
			s.full = false
			out = r.wantState(bond.StateReady)
			if recorded := (&bond.ObservedBond{Routes: out.Record.Learned.Routes}); !plan.HasRoute(out.Observed.Bond, other) || !plan.HasRoute(recorded, other) {
				t.Errorf("the other writer's route: %v, recorded %v", out.Observed.Bond.Routes, out.Record.Learned.Routes)
			}
		})
	}
}

// TestCatalogueOnAFullDisk plays the catalogue of faults while no record can be saved. Afterwards everything is as before.
func TestCatalogueOnAFullDisk(t *testing.T) {
	for _, f := range faults.Rows() {
		for m := range f.Count() {
			if len(f.Steps) == 0 || f.Failover { // a failover is not reverted
				continue
			}
			t.Run(fmt.Sprintf("%s/net%d", f.Name, m+1), func(t *testing.T) {
				r := added(t, scenario.OKD())
				r.complete()
				before := r.inPod()
				s := &fullStore{Store: r.store, full: true}
				r.engine = reconcile.New(reconcile.Config{Kernel: r.Fake, Store: s, IPAM: r.ipam, Now: r.clock.Now, Downs: r.Downs})
				for _, step := range f.Steps {
					must(t, step.Do(r.Bond(), m))
					for range 3 {
						if _, err := r.converge(); err != nil && !errors.Is(err, unix.ENOSPC) {
							t.Error(err)
						}
					}
				}
				s.full = false
				out := r.wantState(bond.StateReady)
				if len(out.Record.Repairs.Open) > 0 || len(out.Record.Contested) > 0 {
					t.Errorf("losses %v, contested %v", out.Record.Repairs.Open, out.Record.Contested)
				}
				if after := r.inPod(); after != before {
					t.Errorf("not as before:\n%s\nbut\n%s", before, after)
				}
			})
		}
	}
}

// TestLossOnAFullDisk: a loss that cannot be recorded remains one loss in all reconciles until it can be. Otherwise each
// of them would be a loss soon after a return, for which the member is held back.
func TestLossOnAFullDisk(t *testing.T) {
	r := ready(t, scenario.OKD())
	s := &fullStore{Store: r.store, full: true}
	r.engine = reconcile.New(reconcile.Config{Kernel: r.Fake, Store: s, IPAM: r.ipam, Now: r.clock.Now, Downs: r.Downs})
	all := map[string]bool{}
	for range 2 {
		must(t, r.UnbindVF(r.VFs[0]))
		for range 5 {
			out, _ := r.converge()
			for _, id := range out.Status.Losses {
				all[id] = true
			}
			r.clock.turn(time.Second)
		}
		must(t, r.BindVF(r.VFs[0]))
		if out, _ := r.converge(); out.Status.State != bond.StateReady {
			t.Errorf("state %q: %s", out.Status.State, out.Status.Reason)
		}
		r.clock.turn(time.Second)
	}
	if len(all) != 2 {
		t.Errorf("losses %v, want 2", all)
	}
	s.full = false
	if out := r.wantState(bond.StateReady); len(out.Record.Repairs.Recent) != 2 || len(out.Record.Repairs.Open) > 0 {
		t.Errorf("recorded %+v", out.Record.Repairs)
	}
}

// TestChangedOnAFullDisk: what could not be saved does not replace a record that another process has changed since.
func TestChangedOnAFullDisk(t *testing.T) {
	r := ready(t, scenario.OKD())
	s := &fullStore{Store: r.store, full: true}
	other := r.engine
	r.engine = reconcile.New(reconcile.Config{Kernel: r.Fake, Store: s, IPAM: r.ipam, Now: r.clock.Now, Downs: r.Downs})
	must(t, r.UnbindVF(r.VFs[0]))
	if _, err := r.converge(); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("error %v", err)
	}
	must(t, other.Update(t.Context(), r.Record.Key, func(rec *bond.Record) error { rec.Warnings = []string{"changed"}; return nil }))
	s.full = false
	if out := r.wantState(bond.StateDegraded); len(out.Record.Warnings) != 1 || len(out.Record.Repairs.Open) != 1 {
		t.Errorf("warnings %q, losses %v", out.Record.Warnings, out.Record.Repairs.Open)
	}
}

// TestDownOnAFullDisk: that a bond was down is known until it is recorded. A route of another writer that the kernel
// rejected meanwhile would count as deleted by its writer.
func TestDownOnAFullDisk(t *testing.T) {
	r := ready(t, scenario.OKD())
	other := bond.Route{Dst: netip.MustParsePrefix("203.0.113.0/24")}
	must(t, r.AddRoute(scenario.PodPath, scenario.BondIf, other))
	r.wantState(bond.StateReady)
	s := &fullStore{Store: r.store, full: true}
	r.engine = reconcile.New(reconcile.Config{Kernel: r.Fake, Store: s, IPAM: r.ipam, Now: r.clock.Now, Downs: r.Downs})
	r.FailApplyIf(func(a plan.Action) error {
		if add, ok := a.(plan.AddRoute); ok && add.Route.Dst == other.Dst {
			return unix.ENETUNREACH
		}
		return nil
	})
	must(t, errors.Join(r.SetDown(scenario.PodPath, scenario.BondIf), r.SetUp(scenario.PodPath, scenario.BondIf)))
	for range 3 {
		if _, err := r.converge(); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("error %v", err)
		}
		r.clock.turn(10 * time.Second)
	}
	s.full = false
	r.FailApplyIf(nil)
	r.clock.turn(time.Minute)
	out := r.wantState(bond.StateReady)
	if !plan.HasRoute(out.Observed.Bond, other) || len(out.Record.Learned.Routes) != 1 || out.Record.Restoring {
		t.Errorf("routes %v, learned %v, restoring %t", out.Observed.Bond.Routes, out.Record.Learned.Routes, out.Record.Restoring)
	}
}
