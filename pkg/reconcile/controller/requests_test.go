package controller_test

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile/controller"
)

// TestFindingsOfResyncs: a finding is counted if only a resync requested the reconcile, and nothing else did until it
// was observed. What the repair itself causes comes later.
func TestFindingsOfResyncs(t *testing.T) {
	const resync, observing, repairing = "resync", time.Second, time.Second
	for _, c := range []struct {
		name    string
		request func(l *controller.Controller)
		want    int
	}{
		{"a resync", func(l *controller.Controller) { l.Enqueue(key(1), resync) }, 1},
		{"an event", func(l *controller.Controller) { l.Enqueue(key(1), "link removed") }, 0},
		{"an event, then a resync", func(l *controller.Controller) {
			l.Enqueue(key(1), "link removed")
			l.Enqueue(key(1), resync)
		}, 0},
		{"a resync, then an event", func(l *controller.Controller) {
			l.Enqueue(key(1), resync)
			l.Enqueue(key(1), "link removed")
		}, 0},
		{"an event before the observation", func(l *controller.Controller) {
			l.Enqueue(key(1), resync)
			<-time.After(observing / 2)
			l.Enqueue(key(1), "link removed")
		}, 0},
		{"an event of the repair", func(l *controller.Controller) {
			l.Enqueue(key(1), resync)
			<-time.After(observing + repairing/2)
			l.Enqueue(key(1), "link changed")
		}, 1},
		{"an event of another bond", func(l *controller.Controller) {
			l.Enqueue(key(1), resync)
			l.Enqueue(key(2), "link removed")
		}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := &engine{converge: func(n int, k bond.Key) (reconcile.Outcome, error) {
					out := healthy(k)
					<-time.After(observing)
					if n == 1 {
						out.Found, out.FoundAt, out.RetryAfter = []plan.Code{plan.MemberLost}, time.Now(), time.Minute
					}
					<-time.After(repairing)
					return out, nil
				}}
				var mu sync.Mutex
				var found []string
				config := controller.Config{ResyncCause: resync, FoundByResync: func(code string) { mu.Lock(); found = append(found, code); mu.Unlock() }}
				runFed(t, e, config, time.Hour, nothing, c.request)
				if !slices.Equal(found, slices.Repeat([]string{"MemberLost"}, c.want)) {
					t.Errorf("found %q, want %d", found, c.want)
				}
			})
		})
	}
}

// TestRetryIsNoResync: a reconcile that the engine has requested is no resync, nor is the next one.
func TestRetryIsNoResync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{converge: func(n int, k bond.Key) (reconcile.Outcome, error) {
			out := healthy(k)
			switch n {
			case 1:
				out.RetryAfter = time.Minute
			case 2:
				out.Found, out.FoundAt = []plan.Code{plan.NoCarrier}, time.Now()
			}
			return out, nil
		}}
		config := controller.Config{ResyncCause: "resync", FoundByResync: func(code string) { t.Errorf("%s is counted", code) }}
		run(t, e, config, time.Hour, func(l *controller.Controller) { l.Enqueue(key(1), "resync") })
		if n := len(e.reconciles[key(1)]); n != 2 {
			t.Errorf("%d reconciles, want 2", n)
		}
	})
}
