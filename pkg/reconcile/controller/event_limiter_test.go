package controller_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile/controller"
)

// A pod with endless events causes a bounded number of reconciles. The last event causes one, and other bonds are
// reconciled as before.
func TestEventsWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{converge: func(_ int, k bond.Key) (reconcile.Outcome, error) { return healthy(k), nil }}
		var last time.Time
		runFed(t, e, controller.Config{}, 10*time.Second, nothing, func(l *controller.Controller) {
			for range 10_000 { // ten seconds
				l.Enqueue(key(1), "event")
				last = time.Now()
				pass(time.Millisecond)
			}
			l.Enqueue(key(2), "event")
			synctest.Wait()
			if n := len(e.reconciles[key(2)]); n != 1 {
				t.Errorf("%d reconciles of another bond, want 1 at once", n)
			}
		})
		reconciles := e.reconciles[key(1)]
		if n := len(reconciles); n < 100 || n > 270 {
			t.Errorf("%d reconciles in ten seconds of events", n)
		}
		if at := reconciles[len(reconciles)-1]; at.Before(last) {
			t.Errorf("the last look was %s before the last event", last.Sub(at))
		}
	})
}

// A single event is not delayed, however many there were before.
func TestEventsNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{converge: func(_ int, k bond.Key) (reconcile.Outcome, error) { return healthy(k), nil }}
		runFed(t, e, controller.Config{}, time.Second, nothing, func(l *controller.Controller) {
			for n := range 200 {
				l.Enqueue(key(1), "event")
				synctest.Wait()
				if len(e.reconciles[key(1)]) != n+1 {
					t.Fatalf("look %d is late", n+1)
				}
				pass(100 * time.Millisecond)
			}
		})
	})
}

// pass lets virtual time pass.
func pass(d time.Duration) { <-time.After(d) }
