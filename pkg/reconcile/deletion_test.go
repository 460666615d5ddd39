package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

// TestDELIsSeenBeforeTheNextAction: DEL makes the record a tombstone while the agent reconciles the bond and holds its
// lock. The running action ends, no other is started, and the DEL continues.
func TestDELIsSeenBeforeTheNextAction(t *testing.T) {
	r := ready(t, scenario.OKD())
	must(t, r.DeleteBond(scenario.PodPath, scenario.BondIf))
	plugin := reconcile.New(reconcile.Config{Kernel: r.Fake, Store: r.store, IPAM: r.ipam, Now: r.clock.Now})
	deleted := make(chan error, 1)
	started := 0
	r.BeforeApply(func(plan.Action) {
		if started++; started > 1 {
			return
		}
		go func() { deleted <- plugin.Release(t.Context(), r.Record.Key) }()
		for {
			rec, err := r.store.Load(r.Record.Key)
			must(t, err)
			if rec.Deleted() {
				return
			}
			select {
			case err := <-deleted:
				t.Errorf("DEL ended without a tombstone: %v", err)
				deleted <- err
				return
			default:
			}
		}
	})
	out, err := r.converge()
	if err != nil || len(out.Applied) != 1 || !out.Record.Deleted() || out.Status.State != bond.StateDeleting {
		t.Errorf("applied %v, state %s, error %v; want the one action under way", out.Applied, out.Status.State, err)
	}
	must(t, <-deleted)
	checkAbsent(t, r)
}

// slowKernel observes for as long as its context allows.
type slowKernel struct {
	reconcile.Kernel
	begun chan struct{}
}

func (k *slowKernel) Observe(ctx context.Context, _ *bond.Record) (bond.Observed, error) {
	close(k.begun)
	<-ctx.Done()
	return bond.Observed{}, ctx.Err()
}

// TestDELIsSeenDuringALongObservation: observing a pod with very many routes takes long. The DEL waits for the lock
// meanwhile.
func TestDELIsSeenDuringALongObservation(t *testing.T) {
	r := ready(t, scenario.OKD())
	synctest.Test(t, func(t *testing.T) {
		kernel := &slowKernel{Kernel: r.Fake, begun: make(chan struct{})}
		agent := reconcile.New(reconcile.Config{Kernel: kernel, Store: r.store, Now: r.clock.Now})
		var out reconcile.Outcome
		var err error
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			out, err = agent.Converge(t.Context(), r.Record.Key)
		}()
		<-kernel.begun
		<-time.After(time.Second) // virtual time
		must(t, r.store.MarkDeleted(r.Record))
		<-ended
		if err != nil || !out.Record.Deleted() || out.Status.State != bond.StateDeleting || len(out.Status.Members) != len(r.Record.Members) {
			t.Errorf("error %v, status %+v; want the look to end", err, out.Status)
		}
	})
}

// TestEndWaitsForACardWithoutTheLock: while sriov-cni has its lock on a VF, DEL waits, and other processes get the
// bond's lock.
func TestEndWaitsForACardWithoutTheLock(t *testing.T) {
	r := ready(t, scenario.OKD())
	refusals, locked := 0, make(chan error, 3)
	r.FailApplyIf(func(a plan.Action) error {
		if _, ok := a.(plan.SetUp); !ok {
			return nil
		}
		if refusals++; refusals > 3 {
			return nil
		}
		go func() {
			unlock, err := r.store.Lock(t.Context(), r.Record.Key)
			if err == nil {
				unlock()
			}
			locked <- err
		}()
		return fmt.Errorf("sriov-cni works on the VF: %w", bond.ErrInUse)
	})
	must(t, r.engine.Release(t.Context(), r.Record.Key))
	checkAbsent(t, r)
	for range 3 {
		must(t, <-locked)
	}
	if r.ipam.calls != 1 || refusals < 4 {
		t.Errorf("%d calls of IPAM, %d refusals", r.ipam.calls, refusals)
	}
}

// TestReleaseThatRunsOutOfTimeNamesTheCard and not only that its time is over.
func TestReleaseThatRunsOutOfTimeNamesTheCard(t *testing.T) {
	r := ready(t, scenario.OKD())
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	r.FailApplyIf(func(plan.Action) error { return fmt.Errorf("sriov-cni works on the VF: %w", bond.ErrInUse) })
	if err := r.engine.Delete(ctx, r.Record.Key); !errors.Is(err, bond.ErrInUse) {
		t.Errorf("error %v", err)
	}
}

// TestCardInUseIsTriedAgainSoon: a card in use is not a failing card.
func TestCardInUseIsTriedAgainSoon(t *testing.T) {
	r := ready(t, scenario.OKD())
	must(t, r.UnbindVF(r.VFs[0]))
	r.convergeUntilIdle()
	r.FailApplyIf(func(a plan.Action) error {
		if a.Subject() == 0 {
			return fmt.Errorf("another worker has the PF: %w", bond.ErrInUse)
		}
		return nil
	})
	must(t, r.BindVF(r.VFs[0]))
	out := r.repeat(12)
	if out.RetryAfter > time.Second || out.Status.State != bond.StateRepairing {
		t.Errorf("retry after %s, state %s: %s", out.RetryAfter, out.Status.State, out.Status.Reason)
	}
	r.FailApplyIf(nil)
	r.wantState(bond.StateReady)
}

// TestActionThatSucceedsLaterIsNoError: on a slow machine the other actions of a round may take long. A card that was
// in use is then retried in the same call. Otherwise ADD would fail for a bond that is complete, and the agent would
// log an error.
func TestActionThatSucceedsLaterIsNoError(t *testing.T) {
	r := newFixture(t, scenario.OKD())
	busy := map[int]bool{}
	r.FailApplyIf(func(a plan.Action) error {
		if _, enslave := a.(plan.Enslave); enslave && !busy[a.Subject()] {
			busy[a.Subject()] = true
			return fmt.Errorf("another worker has the PF: %w", bond.ErrInUse)
		}
		return nil
	})
	r.BeforeApply(func(plan.Action) { r.clock.turn(time.Second) })
	out, err := r.converge()
	if err != nil || len(busy) != 2 || out.Status.State != bond.StateReady || out.RetryAfter != 0 {
		t.Errorf("%v, %d members were busy, state %s, retry after %s", err, len(busy), out.Status.State, out.RetryAfter)
	}
}

// TestLockedBondOccupiesNoWorker: with LockWait, Converge returns while another process holds the bond's lock.
func TestLockedBondOccupiesNoWorker(t *testing.T) {
	r := ready(t, scenario.OKD())
	synctest.Test(t, func(t *testing.T) {
		agent := reconcile.New(reconcile.Config{Kernel: r.Fake, Store: r.store, Now: r.clock.Now, LockWait: 20 * time.Millisecond})
		unlock, err := r.store.Lock(t.Context(), r.Record.Key)
		must(t, err)
		start := time.Now()
		if _, err := agent.Converge(t.Context(), r.Record.Key); !errors.Is(err, bond.ErrLocked) {
			t.Errorf("error %v", err)
		}
		if waited := time.Since(start); waited > 100*time.Millisecond { // virtual time
			t.Errorf("waited %s", waited)
		}
		unlock()
		if out, err := agent.Converge(t.Context(), r.Record.Key); err != nil || out.Record == nil {
			t.Errorf("when the lock is free: %v", err)
		}
	})
}

// TestDelWithAMemberOfThePodsOwnBond: the pod has enslaved a member to its own bond, where it is active and has another
// MAC.
func TestDelWithAMemberOfThePodsOwnBond(t *testing.T) {
	r := ready(t, scenario.OKD())
	own := r.Record.Members[0].Original.MAC
	must(t, r.AddBond(r.Path(), "pod0", bond.Options{bond.OptMode: "active-backup"}))
	must(t, r.Fake.Release(r.Path(), "net1"))
	must(t, r.Enslave(r.Path(), "net1", "pod0"))
	must(t, r.SetMAC(r.Path(), "net1", "02:00:00:00:00:99"))
	must(t, r.engine.Release(t.Context(), r.Record.Key))
	if l, found := r.Link(r.Path(), "net1"); !found || l.MAC != own {
		t.Errorf("net1 after DEL: %+v, want MAC %s\n%s", l, own, r.Node)
	}
}
