package controller_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile/controller"
)

// engine returns what a test sets, and records its calls and their times.
type engine struct {
	mu         sync.Mutex
	converge   func(n int, k bond.Key) (reconcile.Outcome, error)
	reconciles map[bond.Key][]time.Time
	busy       map[bond.Key]bool
	released   []bond.Key
	releases   []time.Time
	// release may be nil: success.
	release func(ctx context.Context, k bond.Key) error
	// confirm may be nil: success.
	confirm func(ctx context.Context, k bond.Key) error
	// changed is used by bonds that are checked; with hang a check ends with its context.
	changed func(*reconcile.Poll) bool
	cause   string
	hang    bool
	overlap bool

	unverified bool
}

// Repair returns the outcome of converge. With unverified that of each bond's first call is Unverified if others wait.
func (e *engine) Repair(_ context.Context, k bond.Key, othersWait func() bool) (reconcile.Outcome, error) {
	e.mu.Lock()
	if e.busy[k] {
		e.overlap = true
	}
	e.busy[k] = true
	e.reconciles[k] = append(e.reconciles[k], time.Now())
	n := len(e.reconciles[k])
	e.mu.Unlock()
	out, err := e.converge(n, k)
	out.Unverified = e.unverified && n == 1 && othersWait()
	e.mu.Lock()
	e.busy[k] = false
	e.mu.Unlock()
	return out, err
}

func (e *engine) ReleaseRecord(ctx context.Context, r *bond.Record) error {
	k := r.Key
	e.mu.Lock()
	e.released, e.releases = append(e.released, k), append(e.releases, time.Now())
	e.mu.Unlock()
	if e.release == nil {
		return nil
	}
	return e.release(ctx, k)
}

func (e *engine) ConfirmLease(ctx context.Context, k bond.Key) error {
	if e.confirm == nil {
		return nil
	}
	return e.confirm(ctx, k)
}

func key(n int) bond.Key { return bond.Key{ContainerID: fmt.Sprint("c", n), IfName: "bond0"} }

func healthy(k bond.Key) reconcile.Outcome {
	return reconcile.Outcome{Record: &bond.Record{Key: k, Phase: bond.PhaseReady}, Status: bond.Status{Key: k, State: bond.StateReady}}
}

// run runs a controller for d in virtual time. What request requests waits before the first reconcile: otherwise the
// first bond may be reconciled before the second waits.
func run(t *testing.T, e *engine, c controller.Config, d time.Duration, request func(*controller.Controller)) {
	t.Helper()
	runFed(t, e, c, d, request, nothing)
}

func nothing(*controller.Controller) {}

// runFed is run for events that come at certain times of the run, which ends d after the last.
func runFed(t *testing.T, e *engine, c controller.Config, d time.Duration, request, feed func(*controller.Controller)) {
	t.Helper()
	e.reconciles, e.busy = map[bond.Key][]time.Time{}, map[bond.Key]bool{}
	c.Engine = e
	l := controller.New(c)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	request(l)
	go func() { defer close(done); l.Run(ctx) }()
	feed(l)
	time.Sleep(d) //nolint:forbidigo // virtual time
	synctest.Wait()
	cancel()
	<-done
	if e.overlap {
		t.Error("one bond was reconciled by two workers at once")
	}
}

func TestReconcilesOnceAndReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{converge: func(_ int, k bond.Key) (reconcile.Outcome, error) { return healthy(k), nil }}
		var mu sync.Mutex
		reported := map[bond.Key]int{}
		c := controller.Config{Report: func(s bond.Status) { mu.Lock(); reported[s.Key]++; mu.Unlock() }}
		var driven *controller.Controller
		run(t, e, c, time.Hour, func(l *controller.Controller) {
			for i := range 100 {
				l.Enqueue(key(i), "test")
			}
			driven = l
		})
		if n := driven.Finished(); n != 100 {
			t.Errorf("%d reconciles done, want 100", n)
		}
		for i := range 100 {
			if n := len(e.reconciles[key(i)]); n != 1 || reported[key(i)] != 1 {
				t.Fatalf("bond %d: %d reconciles, reported %d times; want once", i, n, reported[key(i)])
			}
		}
	})
}

// TestParallelRepairsAreVerifiedLater: a repair that ends while another bond is reconciled is verified after that. A
// single one is verified at once.
func TestParallelRepairsAreVerifiedLater(t *testing.T) {
	for name, bonds := range map[string]int{"one": 1, "two": 2} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var begun sync.WaitGroup
				begun.Add(bonds)
				e := &engine{unverified: true, converge: func(n int, k bond.Key) (reconcile.Outcome, error) {
					if n == 1 {
						begun.Done()
						begun.Wait()
					}
					return healthy(k), nil
				}}
				run(t, e, controller.Config{Workers: 2}, time.Minute, func(l *controller.Controller) {
					for i := range bonds {
						l.Enqueue(key(i), "test")
					}
				})
				if n := len(e.reconciles[key(0)]) + len(e.reconciles[key(1)]); bonds == 1 && n != 1 || bonds == 2 && n < 3 {
					t.Errorf("%d reconciles of %d bonds", n, bonds)
				}
			})
		})
	}
}

// TestVerificationsAreHeldBack: no repair is verified while another bond is still being repaired, though a worker is free
// and the events of the repair request it; but not for longer than a second.
func TestVerificationsAreHeldBack(t *testing.T) {
	for name, tc := range map[string]struct{ takes, verified time.Duration }{
		"a repair":          {300 * time.Millisecond, 300 * time.Millisecond},
		"one that is slow":  {5 * time.Second, 1010 * time.Millisecond},
		"none at that time": {5 * time.Millisecond, 10 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var driven *controller.Controller
				began := time.Now()
				e := &engine{unverified: true, converge: func(n int, k bond.Key) (reconcile.Outcome, error) {
					if k == key(1) && n == 1 {
						<-time.After(tc.takes)
					}
					if k == key(0) && n == 1 {
						<-time.After(10 * time.Millisecond)
						time.AfterFunc(time.Millisecond, func() { driven.Enqueue(k, "its own event") })
					}
					return healthy(k), nil
				}}
				run(t, e, controller.Config{Workers: 4}, time.Minute, func(l *controller.Controller) {
					driven = l
					l.Enqueue(key(0), "test")
					l.Enqueue(key(1), "test")
				})
				reconciles := e.reconciles[key(0)]
				if len(reconciles) < 2 || reconciles[1].Sub(began) < tc.verified-10*time.Millisecond || reconciles[1].Sub(began) > tc.verified+10*time.Millisecond {
					t.Errorf("reconciled at %v after %s, want again after %s", reconciles, began, tc.verified)
				}
			})
		})
	}
}

// TestHeldBackVerificationsFollow: after the last repair all verifications that waited for it are made, by all workers,
// each once.
func TestHeldBackVerificationsFollow(t *testing.T) {
	const bonds, workers, takes = 40, 4, 10 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		e := &engine{unverified: true, converge: func(n int, k bond.Key) (reconcile.Outcome, error) {
			switch {
			case k == key(bonds):
				<-time.After(500 * time.Millisecond)
			case n == 2:
				<-time.After(takes)
			}
			return healthy(k), nil
		}}
		run(t, e, controller.Config{Workers: workers}, time.Minute, func(l *controller.Controller) {
			for i := range bonds + 1 {
				l.Enqueue(key(bonds-i), "test")
			}
		})
		for i := range bonds {
			all := e.reconciles[key(i)]
			if len(all) != 2 || all[1].Sub(began) < 500*time.Millisecond || all[1].Sub(began) > 500*time.Millisecond+bonds/workers*takes {
				t.Errorf("bond %d was reconciled at %v, began at %v", i, all, began)
			}
		}
	})
}

// TestRepairsComeFirst: while bonds wait, repairs are not verified until all that waited have been repaired, even if
// they came later. Only what was verified is reported.
func TestRepairsComeFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var driven *controller.Controller
		var mu sync.Mutex
		var order []string
		note := func(what string, k bond.Key) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, what+" "+k.ContainerID)
		}
		e := &engine{unverified: true, converge: func(n int, k bond.Key) (reconcile.Outcome, error) {
			note("reconciled", k)
			if n == 1 && k == key(0) { // the events of its own repair
				driven.Enqueue(key(0), "test")
			}
			if n == 1 && k == key(1) {
				driven.Enqueue(key(3), "test")
			}
			return healthy(k), nil
		}}
		c := controller.Config{Workers: 1, Report: func(s bond.Status) { note("reported", s.Key) }}
		run(t, e, c, time.Minute, func(l *controller.Controller) {
			driven = l
			for i := range 3 {
				l.Enqueue(key(i), "test")
			}
		})
		want := []string{
			"reconciled c0", "reconciled c1", "reconciled c2", "reconciled c3", "reconciled c0", "reported c0",
			"reconciled c1", "reported c1", "reconciled c2", "reported c2", "reconciled c3", "reported c3",
		}
		if !slices.Equal(order, want) {
			t.Errorf("%q\nwant %q", order, want)
		}
	})
}

// TestVerificationsAreNotStarved: a bond that needs repairs all the time does not keep another from being verified.
func TestVerificationsAreNotStarved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var driven *controller.Controller
		between := 0
		e := &engine{unverified: true}
		e.converge = func(n int, k bond.Key) (reconcile.Outcome, error) {
			if k != key(0) {
				between++
				if between < 1000 {
					driven.Enqueue(key(1+between), "test")
				}
			} else if n == 2 && between > 20 {
				t.Errorf("verified after %d repairs of others", between)
			}
			return healthy(k), nil
		}
		run(t, e, controller.Config{Workers: 1}, time.Hour, func(l *controller.Controller) {
			driven = l
			l.Enqueue(key(0), "test")
			l.Enqueue(key(1), "test")
		})
		if n := len(e.reconciles[key(0)]); n != 2 || between < 1000 {
			t.Errorf("reconciled %d times, others %d times", n, between)
		}
	})
}

func TestEngineDecidesRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{converge: func(n int, k bond.Key) (reconcile.Outcome, error) {
			out := healthy(k)
			if n == 1 {
				out.RetryAfter = 7 * time.Second
				return out, errors.New("an action failed")
			}
			return out, nil
		}}
		run(t, e, controller.Config{}, time.Minute, func(l *controller.Controller) { l.Enqueue(key(1), "test") })
		reconciles := e.reconciles[key(1)]
		if len(reconciles) != 2 || reconciles[1].Sub(reconciles[0]) != 7*time.Second {
			t.Fatalf("reconciles at %v, want two 7 s apart", reconciles)
		}
	})
}

func TestFailingBondBacksOffAndHarmsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{converge: func(_ int, k bond.Key) (reconcile.Outcome, error) {
			if k == key(0) {
				return reconcile.Outcome{}, errors.New("no netlink")
			}
			return healthy(k), nil
		}}
		run(t, e, controller.Config{Workers: 1}, 10*time.Minute, func(l *controller.Controller) {
			l.Enqueue(key(0), "test")
			l.Enqueue(key(1), "test")
		})
		if n := len(e.reconciles[key(0)]); n < 20 || n > 40 {
			t.Errorf("%d reconciles of a failing bond in 10 minutes, want one in 30 s after the first few", n)
		}
		if len(e.reconciles[key(1)]) != 1 {
			t.Errorf("the healthy bond was reconciled %d times", len(e.reconciles[key(1)]))
		}
	})
}

func TestTombstoneIsReleasedAfterGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		e := &engine{converge: func(_ int, k bond.Key) (reconcile.Outcome, error) {
			return reconcile.Outcome{Record: &bond.Record{Key: k, Phase: bond.PhaseDeleting, Updated: start}}, nil
		}}
		var gone []bond.Key
		c := controller.Config{Grace: 20 * time.Second, Forget: func(k bond.Key) { gone = append(gone, k) }}
		run(t, e, c, 19*time.Second, func(l *controller.Controller) { l.Enqueue(key(1), "test") })
		if len(e.released) != 0 {
			t.Fatal("released before the grace period ended")
		}
		run(t, e, c, 21*time.Second, func(l *controller.Controller) { l.Enqueue(key(1), "test") })
		if len(e.released) != 1 || len(gone) != 1 {
			t.Fatalf("released %v, forgotten %v; want once", e.released, gone)
		}
	})
}

func TestRecordGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{converge: func(int, bond.Key) (reconcile.Outcome, error) { return reconcile.Outcome{}, nil }}
		var gone []bond.Key
		run(t, e, controller.Config{Forget: func(k bond.Key) { gone = append(gone, k) }}, time.Hour, func(l *controller.Controller) { l.Enqueue(key(1), "test") })
		if len(e.reconciles[key(1)]) != 1 || len(gone) != 1 {
			t.Fatalf("%d reconciles, forgotten %v; want one of each", len(e.reconciles[key(1)]), gone)
		}
	})
}

// TestLockedBondIsTriedAgain: a bond whose lock the plugin holds occupies no worker, and is reconciled once the lock is
// free.
func TestLockedBondIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		e := &engine{converge: func(n int, k bond.Key) (reconcile.Outcome, error) {
			if k == key(0) && n <= 20 {
				return reconcile.Outcome{}, fmt.Errorf("lock bond: %w", bond.ErrLocked)
			}
			return healthy(k), nil
		}}
		run(t, e, controller.Config{Workers: 1, Log: zap.New(core)}, time.Minute, func(l *controller.Controller) {
			l.Enqueue(key(0), "test")
			l.Enqueue(key(1), "test")
		})
		reconciles := e.reconciles[key(0)]
		if len(reconciles) != 21 || reconciles[20].Sub(reconciles[0]) > 10*time.Second || len(e.reconciles[key(1)]) != 1 {
			t.Errorf("%d attempts at %v", len(reconciles), reconciles)
		}
		if logs.Len() > 0 {
			t.Errorf("logged: %v", logs.All())
		}
	})
}
