package reconcile_test

import (
	"sync"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

func TestMakesTheBondOnceAndThenIsSilent(t *testing.T) {
	r := newFixture(t, scenario.OKD())
	out := r.wantState(bond.StateReady)
	if !out.Record.Settled || out.Status.MAC != r.Record.Spec.MAC || out.Status.Active != "net1" {
		t.Fatalf("outcome %+v", out.Status)
	}
	changes := r.Changes()
	saved, err := r.store.Load(r.Record.Key)
	if err != nil {
		t.Fatal(err)
	}
	r.restart()
	r.clock.turn(time.Hour)
	r.wantState(bond.StateReady)
	again, err := r.store.Load(r.Record.Key)
	if err != nil {
		t.Fatal(err)
	}
	if r.Changes() != changes || !again.Updated.Equal(saved.Updated) {
		t.Fatalf("a healthy bond was touched: %v; record written %t", r.ChangeLog()[changes:], !again.Updated.Equal(saved.Updated))
	}
}

func TestRepairIsCountedAndTimed(t *testing.T) {
	r := ready(t, scenario.OKD())
	must(t, r.UnbindVF(r.VFs[0]))
	out := r.wantState(bond.StateDegraded)
	if out.Record.Settled || out.Record.Repairs.Open["net1"].Cause != string(plan.MemberLost) {
		t.Fatalf("loss not noted: %+v", out.Record.Repairs)
	}
	r.clock.turn(4 * time.Second)
	r.restart() // the history outlives the agent
	must(t, r.BindVF(r.VFs[0]))
	out = r.wantState(bond.StateReady)
	last := out.Record.Repairs.Last
	if out.Status.Repairs != 1 || last == nil || last.Member != "net1" || last.Took != 4000 {
		t.Fatalf("repairs %+v, last %+v", out.Record.Repairs, last)
	}
}

// TestKilledAnywhere: a process that is killed between any two changes leaves a state from which another one can
// complete or delete the bond.
func TestKilledAnywhere(t *testing.T) {
	type killed struct{}
	for _, release := range []bool{false, true} {
		for n := 1; n < 40; n++ {
			r := newFixture(t, scenario.OKD())
			if release {
				r.wantState(bond.StateReady)
			}
			left := n
			r.BeforeApply(func(plan.Action) {
				if left--; left == 0 {
					panic(killed{})
				}
			})
			died := func() (died bool) {
				defer func() { died = recover() != nil }()
				if release {
					must(t, r.engine.Release(t.Context(), r.Record.Key))
				} else {
					r.convergeUntilIdle()
				}
				return
			}()
			r.BeforeApply(nil)
			r.restart()
			if !release {
				r.wantState(bond.StateReady)
			}
			must(t, r.engine.Release(t.Context(), r.Record.Key))
			checkAbsent(t, r)
			if !died {
				if n < 5 {
					t.Fatalf("nothing was left to kill after %d changes", n)
				}
				break
			}
		}
	}
}

func TestSandboxGone(t *testing.T) {
	r := ready(t, scenario.OKD())
	must(t, r.UnbindVF(r.VFs[0]))
	must(t, r.DeletePod(scenario.PodPath))
	must(t, r.BindVF(r.VFs[0]))
	applies := r.Applies()
	out, err := r.converge()
	if err != nil || out.Status.State != bond.StateDown || out.RetryAfter != 0 || r.Applies() != applies {
		t.Fatalf("%s, %v, retry %s, %d applies; want to stand still", out.Status.State, err, out.RetryAfter, r.Applies()-applies)
	}
	r.AddPod(scenario.PodPath) // another pod at the same path
	if out, err = r.converge(); err != nil || r.Applies() != applies {
		t.Fatalf("a netns that took the path was touched: %v, %v", out.Applied, err)
	}
	must(t, r.engine.Release(t.Context(), r.Record.Key))
}

func TestBothSidesAtOnce(t *testing.T) {
	r := newFixture(t, scenario.OKD())
	other := reconcile.New(reconcile.Config{Kernel: r.Fake, Store: r.store, IPAM: r.ipam, Now: r.clock.Now})
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			e := r.engine
			if i%2 == 1 {
				e = other
			}
			if _, err := e.Converge(t.Context(), r.Record.Key); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	r.wantState(bond.StateReady)
	if n := r.Changes(); n > 20 {
		t.Errorf("%d changes for one bond: %v", n, r.ChangeLog())
	}
	for range 8 {
		wg.Go(func() { must(t, other.Release(t.Context(), r.Record.Key)) })
		wg.Go(func() { _, _ = r.engine.Converge(t.Context(), r.Record.Key) })
	}
	wg.Wait()
	checkAbsent(t, r)
}

// TestUnidentifiedMember: a link of which only the name is known is reported and never attached. The bond can settle
// without it.
func TestUnidentifiedMember(t *testing.T) {
	r := newFixture(t, scenario.OKD())
	must(t, r.engine.Update(t.Context(), r.Record.Key, func(rec *bond.Record) error {
		rec.Members[1] = bond.Member{Name: "net3", Unidentified: true}
		rec.Warnings = []string{"so it is"}
		return nil
	}))
	out := r.wantState(bond.StateDegraded)
	if !out.Record.Settled || out.Status.Members[1].State != "unidentified" || out.Status.Members[1].Reason == "" || len(out.Status.Warnings) != 1 {
		t.Fatalf("status %+v, settled %t", out.Status, out.Record.Settled)
	}
	if _, err := r.AddImpostor(scenario.PodPath, "net3"); err != nil {
		t.Fatal(err)
	}
	must(t, r.Rename(scenario.PodPath, "net2", "net4"))
	changes := r.Changes()
	out = r.wantState(bond.StateDegraded)
	if r.Changes() != changes || len(out.Record.Repairs.Open) != 0 {
		t.Errorf("something was done: %v; open losses %v", r.ChangeLog()[changes:], out.Record.Repairs.Open)
	}
}
