package controller_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile/controller"
)

// TestPolledBonds: a bond is checked at its own interval until it has changed. It is then reconciled, which decides
// whether it is checked further. Other bonds are not checked.
func TestPolledBonds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fast, slow := &reconcile.Poll{Every: time.Second}, &reconcile.Poll{Every: 30 * time.Second}
		var checks [2]atomic.Int32
		e := &engine{
			converge: func(n int, k bond.Key) (reconcile.Outcome, error) {
				out := healthy(k)
				switch {
				case k == key(0) && n <= 2:
					out.Poll = fast
				case k == key(1):
					out.Poll = slow
				}
				return out, nil
			},
			changed: func(p *reconcile.Poll) bool {
				if p == slow {
					checks[1].Add(1)
					return false
				}
				return checks[0].Add(1)%10 == 0
			},
			cause: reconcile.CauseAggregator,
		}
		run(t, e, controller.Config{}, 60*time.Second+time.Millisecond, func(l *controller.Controller) {
			for i := range 3 {
				l.Enqueue(key(i), "test")
			}
		})
		if f, s := checks[0].Load(), checks[1].Load(); f != 20 || s != 2 {
			t.Errorf("%d and %d checks; want 20 until the second change, and 2", f, s)
		}
		for i, want := range []int{3, 1, 1} {
			if n := len(e.reconciles[key(i)]); n != want {
				t.Errorf("bond %d: %d reconciles, want %d", i, n, want)
			}
		}
	})
}

// TestChecksCoincide: bonds with the same interval are checked at the same times, whenever they were reconciled, so that
// they share what is read of a PF.
func TestChecksCoincide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const every = 45 * time.Second
		var mu sync.Mutex
		times := map[time.Time]int{}
		e := &engine{
			converge: func(_ int, k bond.Key) (reconcile.Outcome, error) {
				out := healthy(k)
				out.Poll = &reconcile.Poll{Every: every}
				return out, nil
			},
			changed: func(*reconcile.Poll) bool {
				mu.Lock()
				defer mu.Unlock()
				times[time.Now()]++
				return false
			},
		}
		runFed(t, e, controller.Config{}, 10*every+time.Second, nothing, func(l *controller.Controller) {
			for i := range 4 {
				l.Enqueue(key(i), "test")
				<-time.After(10 * time.Second)
			}
		})
		for at, n := range times {
			if n != 4 {
				t.Errorf("%d of 4 bonds were checked at %s", n, at)
			}
		}
		if len(times) < 10 {
			t.Errorf("checks at %d times, want 10", len(times))
		}
	})
}

// TestCheckThatHangs is ended with the controller.
func TestCheckThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{
			converge: func(_ int, k bond.Key) (reconcile.Outcome, error) {
				out := healthy(k)
				out.Poll = &reconcile.Poll{Every: time.Second}
				return out, nil
			},
			hang: true,
		}
		run(t, e, controller.Config{}, 2*time.Second, func(l *controller.Controller) { l.Enqueue(key(0), "test") })
		if n := len(e.reconciles[key(0)]); n != 1 {
			t.Errorf("%d reconciles, want 1", n)
		}
	})
}

func (e *engine) Changed(ctx context.Context, p *reconcile.Poll) string {
	if e.hang {
		<-ctx.Done()
		return "hung"
	}
	if e.changed(p) {
		return e.cause
	}
	return ""
}
