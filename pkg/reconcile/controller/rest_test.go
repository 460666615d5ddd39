package controller_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile/controller"
)

// resyncs requests a resync of a bond in each period, as the monitor does.
func resyncs(l *controller.Controller, k bond.Key, number int) {
	go func() {
		for range number {
			<-time.After(45 * time.Second)
			l.Enqueue(k, "resync")
		}
	}()
}

// TestRest: the longer a bond is as it should be, the less often a resync reconciles it. An event is never left out, and
// the resync after it is made.
func TestRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{converge: func(_ int, k bond.Key) (reconcile.Outcome, error) { return healthy(k), nil }}
		const day = 24 * time.Hour
		runFed(t, e, controller.Config{ResyncCause: "resync"}, day, nothing, func(l *controller.Controller) {
			l.Enqueue(key(0), "start")
			resyncs(l, key(0), int(day/(45*time.Second)))
			go func() {
				<-time.After(day / 2)
				l.Enqueue(key(0), "link changed")
			}()
		})
		at := e.reconciles[key(0)]
		longest := time.Duration(0)
		for i := range at[1:] {
			longest = max(longest, at[i+1].Sub(at[i]))
		}
		if n := len(at); n < 58 || n > 85 || longest > 30*time.Minute+45*time.Second {
			t.Errorf("%d reconciles in a day, with pauses of up to %s; want some 70, and half an hour", n, longest)
		}
		for i, a := range at {
			if event := e.reconciles[key(0)][0].Add(day / 2); a.Equal(event) {
				if next := at[i+1].Sub(a); next > 45*time.Second {
					t.Errorf("%s from an event to the next resync", next)
				}
				return
			}
		}
		t.Error("an event was left out")
	})
}

// TestNoRest: a bond that is not as it should be is reconciled in each resync.
func TestNoRest(t *testing.T) {
	for name, outcome := range map[string]func(*reconcile.Outcome){
		"degraded":           func(o *reconcile.Outcome) { o.Status.State = bond.StateDegraded },
		"waits":              func(o *reconcile.Outcome) { o.RetryAfter = time.Hour },
		"has been repaired":  func(o *reconcile.Outcome) { o.Applied = []plan.Action{plan.Release{}} },
		"cannot be observed": func(o *reconcile.Outcome) { o.Status.State = "" },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := &engine{converge: func(_ int, k bond.Key) (reconcile.Outcome, error) {
					out := healthy(k)
					outcome(&out)
					return out, nil
				}}
				runFed(t, e, controller.Config{ResyncCause: "resync"}, 45*time.Minute, nothing, func(l *controller.Controller) { resyncs(l, key(0), 59) })
				if n := len(e.reconciles[key(0)]); n != 59 {
					t.Errorf("%d reconciles in 59 resyncs", n)
				}
			})
		})
	}
}
