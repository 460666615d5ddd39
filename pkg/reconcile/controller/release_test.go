package controller_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile/controller"
)

// TestFailingReleaseBacksOff: an IPAM plugin that always fails is called again after pauses that grow to ten minutes,
// even if every attempt changes the record and so causes a reconcile.
func TestFailingReleaseBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		rec := bond.Record{Key: key(1), Phase: bond.PhaseDeleting, Releases: 1, Updated: time.Now()}
		var driven *controller.Controller
		e := &engine{
			converge: func(int, bond.Key) (reconcile.Outcome, error) {
				mu.Lock()
				defer mu.Unlock()
				return reconcile.Outcome{Record: rec.Clone()}, nil
			},
			release: func(context.Context, bond.Key) error {
				mu.Lock()
				defer mu.Unlock()
				rec.Releases, rec.Updated = rec.Releases+1, time.Now()
				driven.Enqueue(key(1), "record")
				return errors.New("no kubeconfig")
			},
		}
		run(t, e, controller.Config{}, 2*time.Hour, func(l *controller.Controller) { driven = l; l.Enqueue(key(1), "test") })
		pauses := []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 10 * time.Minute, 10 * time.Minute}
		if len(e.releases) < len(pauses)+1 || len(e.releases) > 20 {
			t.Fatalf("%d releases in two hours", len(e.releases))
		}
		for i, want := range pauses {
			if got := e.releases[i+1].Sub(e.releases[i]); got < want || got > want+time.Second {
				t.Errorf("pause %d is %s, want %s", i+1, got, want)
			}
		}
		if n := driven.FailedReleases(); n != 1 {
			t.Errorf("%d releases count as failing, want 1", n)
		}
	})
}

// TestReleaseThatHangsOccupiesNoWorker: while an IPAM plugin hangs, the only worker reconciles other bonds. The release
// ends with its timeout, and with the loop.
func TestReleaseThatHangsOccupiesNoWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		e := &engine{
			converge: func(_ int, k bond.Key) (reconcile.Outcome, error) {
				if k == key(0) {
					return reconcile.Outcome{Record: &bond.Record{Key: k, Phase: bond.PhaseDeleting, Updated: start.Add(-time.Hour)}}, nil
				}
				return healthy(k), nil
			},
			release: func(ctx context.Context, _ bond.Key) error { <-ctx.Done(); return ctx.Err() },
		}
		runFed(t, e, controller.Config{Workers: 1}, time.Minute, nothing, func(l *controller.Controller) {
			l.Enqueue(key(0), "test")
			synctest.Wait() // the release is under way
			l.Enqueue(key(0), "again")
			l.Enqueue(key(1), "test")
		})
		if reconciles := e.reconciles[key(1)]; len(reconciles) != 1 || reconciles[0].Sub(start) > time.Second {
			t.Errorf("the other bond was reconciled %v after the start, want at once", reconciles)
		}
		if len(e.released) != 1 {
			t.Errorf("%d releases run at once, want one", len(e.released))
		}
	})
}

// TestLeaseIsConfirmedOutsideTheWorkers: while the DHCP daemon does not respond, the only worker reconciles other
// bonds; the bond is reconciled again after the response.
func TestLeaseIsConfirmedOutsideTheWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		queries := 0
		e := &engine{
			converge: func(n int, k bond.Key) (reconcile.Outcome, error) {
				out := healthy(k)
				out.LeaseDue = k == key(0) && n < 4
				return out, nil
			},
			confirm: func(context.Context, bond.Key) error {
				queries++
				time.Sleep(20 * time.Second) //nolint:forbidigo // virtual time
				return nil
			},
		}
		runFed(t, e, controller.Config{Workers: 1}, time.Minute, nothing, func(l *controller.Controller) {
			l.Enqueue(key(0), "test")
			l.Enqueue(key(1), "test")
			synctest.Wait() // the daemon is queried
			l.Enqueue(key(0), "again")
		})
		if reconciles := e.reconciles[key(1)]; len(reconciles) != 1 || reconciles[0].Sub(start) > time.Second {
			t.Errorf("the other bond was reconciled %v after the start, want at once", reconciles)
		}
		// At the start, again while the daemon is queried, after its first response and after its second.
		if reconciles := e.reconciles[key(0)]; len(reconciles) != 4 || queries != 2 {
			t.Errorf("reconciled %d times, queried %d times; want 4 and 2", len(reconciles), queries)
		}
	})
}

// TestLeaseThatCannotBeRecorded: while the record cannot be saved (a full disk), a confirmed lease remains due. The
// daemon is not queried again and again without a pause.
func TestLeaseThatCannotBeRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		queries := 0
		e := &engine{
			converge: func(_ int, k bond.Key) (reconcile.Outcome, error) {
				out := healthy(k)
				out.LeaseDue = true
				return out, nil
			},
			confirm: func(context.Context, bond.Key) error { queries++; return errors.New("no space left on device") },
		}
		run(t, e, controller.Config{}, time.Minute, func(l *controller.Controller) { l.Enqueue(key(0), "test") })
		if queries < 6 || queries > 20 {
			t.Errorf("queried %d times in a minute", queries)
		}
	})
}

// unreleased is the reconcile of a tombstone whose last release failed.
func unreleased(k bond.Key, updated time.Time) reconcile.Outcome {
	return reconcile.Outcome{
		Record: &bond.Record{Key: k, Phase: bond.PhaseDeleting, Releases: 1, Updated: updated},
		Status: bond.Status{Key: k, State: bond.StateDeleting, Unreleased: "no daemon"},
	}
}

// TestUnreleasedIsReported: addresses that the plugin could not release are reported and counted from the first
// reconcile on. They no longer are once the record is gone, whichever side removed it.
func TestUnreleasedIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var driven *controller.Controller
		counted := -1
		e := &engine{converge: func(n int, k bond.Key) (reconcile.Outcome, error) {
			if n == 2 {
				counted = driven.FailedReleases()
				return reconcile.Outcome{}, nil
			}
			return unreleased(k, time.Now()), nil
		}}
		var reported []bond.Status
		var gone []bond.Key
		c := controller.Config{Report: func(s bond.Status) { reported = append(reported, s) }, Forget: func(k bond.Key) { gone = append(gone, k) }}
		run(t, e, c, time.Minute, func(l *controller.Controller) { driven = l; l.Enqueue(key(1), "test") })
		if len(reported) != 1 || reported[0].Unreleased != "no daemon" || len(gone) != 1 || len(e.released) != 0 {
			t.Errorf("reported %+v, forgotten %v, released %v", reported, gone, e.released)
		}
		if after := driven.FailedReleases(); counted != 1 || after != 0 {
			t.Errorf("%d releases count as failed, and %d when the record is gone; want 1 and 0", counted, after)
		}
	})
}

// TestReleaseAfterTheClockWasSetBack: a tombstone with a time in the future is released after the usual pause.
func TestReleaseAfterTheClockWasSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		e := &engine{converge: func(_ int, k bond.Key) (reconcile.Outcome, error) {
			return unreleased(k, start.Add(365*24*time.Hour)), nil
		}}
		run(t, e, controller.Config{}, time.Hour, func(l *controller.Controller) { l.Enqueue(key(1), "test") })
		if len(e.released) == 0 {
			t.Error("not released in an hour")
		}
	})
}

// TestTombstoneEndsLease: while the DHCP daemon does not respond, a DEL ends the call, for which IPAM's DEL waits.
func TestTombstoneEndsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var ended time.Time
		e := &engine{
			converge: func(n int, k bond.Key) (reconcile.Outcome, error) {
				if n == 1 {
					out := healthy(k)
					out.LeaseDue, out.RetryAfter = true, time.Second // then the DEL
					return out, nil
				}
				return reconcile.Outcome{Record: &bond.Record{Key: k, Phase: bond.PhaseDeleting, Updated: time.Now()}}, nil
			},
			confirm: func(ctx context.Context, _ bond.Key) error { <-ctx.Done(); ended = time.Now(); return ctx.Err() },
		}
		run(t, e, controller.Config{}, 10*time.Second, func(l *controller.Controller) { l.Enqueue(key(1), "test") })
		if took := ended.Sub(start); ended.IsZero() || took > 2*time.Second {
			t.Errorf("the call ended after %s, want it to end with the DEL", took)
		}
	})
}
