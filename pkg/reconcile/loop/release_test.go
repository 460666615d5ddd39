package loop_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile/loop"
)

// TestFailingReleaseBacksOff: an IPAM plugin that always fails is called again after pauses that grow to ten minutes,
// also if every attempt changes the record and the change causes a look.
func TestFailingReleaseBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		rec := bond.Record{Key: key(1), Phase: bond.PhaseDeleting, Releases: 1, Updated: time.Now()}
		var driven *loop.Loop
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
		run(t, e, loop.Config{}, 2*time.Hour, func(l *loop.Loop) { driven = l; l.Enqueue(key(1), "test") })
		wants := []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 10 * time.Minute, 10 * time.Minute}
		if len(e.releases) < len(wants)+1 || len(e.releases) > 20 {
			t.Fatalf("%d releases in two hours", len(e.releases))
		}
		for i, want := range wants {
			if got := e.releases[i+1].Sub(e.releases[i]); got < want || got > want+time.Second {
				t.Errorf("pause %d is %s, want %s", i+1, got, want)
			}
		}
		if n := driven.FailedReleases(); n != 1 {
			t.Errorf("%d releases count as failing, want 1", n)
		}
	})
}

// TestReleaseThatHangsOccupiesNoWorker: while an IPAM plugin does not return, the only worker looks at other bonds; the
// release ends with its time, and the loop's end ends it, too.
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
		run(t, e, loop.Config{Workers: 1}, time.Minute, func(l *loop.Loop) {
			l.Enqueue(key(0), "test")
			l.Enqueue(key(0), "again")
			l.Enqueue(key(1), "test")
		})
		if looks := e.looks[key(1)]; len(looks) != 1 || looks[0].Sub(start) > time.Second {
			t.Errorf("the other bond was looked at %v after the start, want at once", looks)
		}
		if len(e.released) != 1 {
			t.Errorf("%d releases run at once, want one", len(e.released))
		}
	})
}

// TestLeaseIsConfirmedOutsideTheWorkers: while the DHCP daemon does not answer, the only worker looks at other bonds; the
// bond is looked at again when it has answered.
func TestLeaseIsConfirmedOutsideTheWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		asked := 0
		e := &engine{
			converge: func(n int, k bond.Key) (reconcile.Outcome, error) {
				out := healthy(k)
				out.LeaseDue = k == key(0) && n < 3
				return out, nil
			},
			confirm: func(context.Context, bond.Key) error {
				asked++
				time.Sleep(20 * time.Second) //nolint:forbidigo // virtual time
				return nil
			},
		}
		run(t, e, loop.Config{Workers: 1}, time.Minute, func(l *loop.Loop) {
			l.Enqueue(key(0), "test")
			l.Enqueue(key(1), "test")
			l.Enqueue(key(0), "again")
		})
		if looks := e.looks[key(1)]; len(looks) != 1 || looks[0].Sub(start) > time.Second {
			t.Errorf("the other bond was looked at %v after the start, want at once", looks)
		}
		if looks := e.looks[key(0)]; len(looks) != 3 || asked != 2 {
			t.Errorf("looked %d times, asked %d times; want 3 and 2", len(looks), asked)
		}
	})
}
