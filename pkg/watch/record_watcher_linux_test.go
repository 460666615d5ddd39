package watch

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netns"
)

func TestRecordWatcherMerges(t *testing.T) {
	runWatcher(t, nil, func(r *watcherFixture) {
		r.expect(t, "start", "a: start, b: start")
		r.pass(time.Second)
		r.lists = nil
		r.changed("a")
		r.expect(t, "the first change acts at once", "a: record changed")
		r.changed("b")
		r.changed("a")
		r.changed("ignored.tmp")
		r.changed("b")
		r.expect(t, "within the merge period", "")
		r.pass(mergePeriod)
		r.expect(t, "after the merge period", "a: record changed, b: record changed")
		r.pass(time.Second)
		if n := r.monitor.Stats().Relists; len(r.lists) != 2 || n != 3 {
			t.Errorf("listed at %v, want two times; %d counted, want 3 with the start", r.lists, n)
		}
	})
}

// TestRecordWatcherKnown: what the sink saved itself is no change, unless all keys are due.
func TestRecordWatcherKnown(t *testing.T) {
	runWatcher(t, func(r *watcherFixture) {
		r.monitor.cfg.Known = func(rec *bond.Record) bool { return rec.Key.ContainerID == "a" }
	}, func(r *watcherFixture) {
		r.expect(t, "start", "a: start, b: start")
		r.pass(time.Second)
		r.changed("a")
		r.changed("b")
		r.pass(mergePeriod)
		r.expect(t, "both changed", "b: record changed")
		r.records = r.records[1:]
		r.changed("a")
		r.pass(time.Second)
		r.expect(t, "removed", "a: record changed")
	})
}

// TestRecordWatcherListsOnlyNews: what the sink saved itself causes no listing while the record names the same links as
// before.
func TestRecordWatcherListsOnlyNews(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*bond.Record)
		lists  int
	}{
		"the same links":      {func(r *bond.Record) { r.Repairs.Count++ }, 0},
		"another bond":        {func(r *bond.Record) { r.BondIndex = 99 }, 1},
		"another sandbox":     {func(r *bond.Record) { r.Sandbox.Inode = 99 }, 1},
		"another VF":          {func(r *bond.Record) { r.Members[0].PCI = "0000:09:10.0" }, 1},
		"another PF":          {func(r *bond.Record) { r.Members[0].VF = &bond.VF{PF: "0000:09:00.0"} }, 1},
		"by another process":  {func(r *bond.Record) { r.Releases = 1 }, 1},
		"that cannot be read": {func(r *bond.Record) { r.Releases = 2 }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			runWatcher(t, func(r *watcherFixture) {
				r.monitor.cfg.Known = func(rec *bond.Record) bool { return rec.Releases == 0 }
				r.monitor.cfg.Load = func(bond.Key) (*bond.Record, error) {
					if r.records[0].Releases == 2 {
						return nil, errors.New("damaged")
					}
					return r.records[0], nil
				}
			}, func(r *watcherFixture) {
				r.records[0].Members = vfs("0000:01:00.0", "0000:01:10.0")
				r.changed("b") // so that this is listed
				r.pass(time.Second)
				r.lists = nil
				changed := r.records[0].Clone()
				tc.change(changed)
				r.records[0] = changed
				r.changed("a")
				r.pass(time.Second)
				if len(r.lists) != tc.lists {
					t.Errorf("listed %d times, want %d", len(r.lists), tc.lists)
				}
			})
		})
	}
}

// TestRecordWatcherListsDespiteOwnChanges: the records that the sink saves all the time do not delay what is due in any
// case.
func TestRecordWatcherListsDespiteOwnChanges(t *testing.T) {
	for name, cause := range map[string]func(*watcherFixture){
		"events lost":    func(r *watcherFixture) { r.monitor.relist <- CauseOverrun },
		"a netns ended":  func(r *watcherFixture) { r.monitor.verify <- struct{}{} },
		"another record": func(r *watcherFixture) { r.changed("b") },
	} {
		t.Run(name, func(t *testing.T) {
			runWatcher(t, func(r *watcherFixture) {
				r.monitor.cfg.Known = func(rec *bond.Record) bool { return rec.Key.ContainerID == "a" }
				r.monitor.cfg.Load = func(k bond.Key) (*bond.Record, error) { return watched(k.ContainerID, 1), nil }
			}, func(r *watcherFixture) {
				r.pass(time.Second)
				r.lists = nil
				r.changed("a")
				cause(r)
				for range 100 {
					r.changed("a")
					r.pass(mergePeriod / 2)
				}
				if len(r.lists) == 0 {
					t.Error("not listed within a second")
				}
			})
		})
	}
}

// TestRecordWatcherSlowListing: slow listings take at most a quarter of the time.
func TestRecordWatcherSlowListing(t *testing.T) {
	runWatcher(t, nil, func(r *watcherFixture) {
		r.pass(time.Second)
		r.lists, r.listTime = nil, 40*time.Millisecond
		for range 100 {
			r.changed("a")
			r.pass(10 * time.Millisecond)
		}
		if len(r.lists) < 5 {
			t.Fatalf("%d listings", len(r.lists))
		}
		for i, at := range r.lists[1:] {
			if gap := at - r.lists[i]; gap < 160*time.Millisecond || gap > 170*time.Millisecond {
				t.Errorf("%v from listing to listing, want 160 ms", gap)
			}
		}
	})
}

// TestRecordWatcherReadsNewIDs: a changed record costs no request about other sandboxes, whose IDs are known. All are
// read after the end of a netns, and at a resync.
func TestRecordWatcherReadsNewIDs(t *testing.T) {
	runWatcher(t, nil, func(r *watcherFixture) {
		r.pass(time.Second)
		expect := func(what, want string) {
			t.Helper()
			r.pass(mergePeriod)
			if got := strings.Join(r.queried, " "); got != want {
				t.Errorf("%s: the IDs of %q were read, want %q", what, got, want)
			}
			r.queried = nil
		}
		expect("start", "/run/netns/a /run/netns/b")
		r.records = append(r.records, watched("c", 3))
		r.changed("c")
		expect("a new record", "/run/netns/c")
		r.changed("a")
		expect("a changed record", "")
		r.monitor.verify <- struct{}{}
		expect("a netns has ended", "/run/netns/a /run/netns/b /run/netns/c")
		r.pass(time.Minute)
		expect("a resync", "")
		r.pass(relistResyncs * time.Minute)
		expect("resyncs that list the records, too", "/run/netns/a /run/netns/b /run/netns/c")
	})
}

func TestRecordWatcherResync(t *testing.T) {
	runWatcher(t, nil, func(r *watcherFixture) {
		r.out, r.lists = nil, nil
		r.pass(2 * time.Hour)
		if n := r.monitor.Stats().Resyncs; n/relistResyncs != uint64(len(r.lists)) || uint64(len(r.out)) != 2*n {
			t.Errorf("%d resyncs, %d listings, %d keys", n, len(r.lists), len(r.out))
		}
		least, most, last := time.Hour, time.Duration(0), time.Duration(0)
		for _, o := range r.out {
			if o.key == "a" {
				least, most, last = min(least, o.at-last), max(most, o.at-last), o.at
			}
		}
		if least < 30*time.Second || most > time.Minute {
			t.Errorf("periods from %v to %v", least, most)
		}
		if most-least < 15*time.Second {
			t.Errorf("periods from %v to %v are hardly jittered", least, most)
		}
		for _, o := range r.out {
			if o.cause != CauseResync {
				t.Fatalf("cause %q", o.cause)
			}
		}
	})
}

func TestRecordWatcherListFails(t *testing.T) {
	runWatcher(t, nil, func(r *watcherFixture) {
		r.take()
		r.pass(time.Second)
		r.listErr = errors.New("no such directory")
		r.changed("a")
		r.pass(5*time.Second + time.Millisecond)
		r.expect(t, "while listing fails", "")
		if len(r.problems) != 1 {
			t.Errorf("errors: %q, want one", r.problems)
		}
		r.listErr = nil
		r.pass(retryPeriod)
		r.expect(t, "when it succeeds again", "a: record changed")
	})
}

func TestRecordWatcherDir(t *testing.T) {
	self := func(op fsnotify.Op) func(*fakeDir) {
		return func(d *fakeDir) { d.events <- fsnotify.Event{Name: "/run/bondkeeper", Op: op} }
	}
	for name, fail := range map[string]func(*fakeDir){
		"overflow": func(d *fakeDir) { d.errors <- fsnotify.ErrEventOverflow },
		"ended":    func(d *fakeDir) { close(d.events) },
		"broken":   func(d *fakeDir) { close(d.errors) },
		"removed":  self(fsnotify.Remove),
		"renamed":  self(fsnotify.Rename),
	} {
		t.Run(name, func(t *testing.T) {
			runWatcher(t, nil, func(r *watcherFixture) {
				r.take()
				r.pass(time.Second)
				r.records = append(r.records[1:], watched("c", 3)) // a was removed and c added, without an event
				r.event(fail)
				r.expect(t, "after the failure", "a: records listed again, b: records listed again, c: records listed again")
				if len(r.dirs) != 2 || !r.dirs[0].closed.Load() {
					t.Errorf("%d watches, the first closed: %t", len(r.dirs), r.dirs[0].closed.Load())
				}
				r.changed("b")
				r.pass(mergePeriod)
				r.expect(t, "by the new watch", "b: record changed")
			})
		})
	}
}

func TestRecordWatcherDirMissing(t *testing.T) {
	runWatcher(t, func(r *watcherFixture) { r.dirErr = unix.ENOENT }, func(r *watcherFixture) {
		r.expect(t, "start", "a: start, b: start")
		r.pass(5 * time.Second)
		r.expect(t, "without a directory", "")
		if len(r.problems) != 1 {
			t.Errorf("errors: %q, want one", r.problems)
		}
		r.dirErr = nil
		r.pass(retryPeriod)
		r.expect(t, "with a directory", "a: records listed again, b: records listed again")
	})
}

func TestRecordWatcherUnsubscribed(t *testing.T) {
	a := watched("a", 1).Sandbox
	for name, set := range map[string]func(*watcherFixture, error){
		"one sandbox":   func(r *watcherFixture, err error) { r.assigned[a] = err },
		"all sandboxes": func(r *watcherFixture, err error) { r.nsidErr, r.records = err, r.records[:1] },
	} {
		t.Run(name, func(t *testing.T) {
			runWatcher(t, func(r *watcherFixture) { set(r, unix.EMFILE) }, func(r *watcherFixture) {
				r.take()
				r.pass(5*time.Second + mergePeriod)
				r.expect(t, "deaf", "")
				if len(r.lists) != 6 || len(r.problems) != 1 {
					t.Errorf("listed at %v, errors %q; want one attempt per second and one error", r.lists, r.problems)
				}
				r.changed("a")
				r.expect(t, "a change is not held up", "a: record changed")
				set(r, nil)
				r.pass(2 * retryPeriod)
				r.expect(t, "received again", "a: records listed again")
				n := len(r.lists)
				r.pass(5 * retryPeriod)
				if len(r.lists) != n {
					t.Error("listed again and again")
				}
			})
		})
	}
}

func TestRecordWatcherDeadSandbox(t *testing.T) {
	runWatcher(t, func(r *watcherFixture) { r.assigned[watched("a", 1).Sandbox] = fmt.Errorf("x: %w", netns.ErrGone) }, func(r *watcherFixture) {
		r.expect(t, "start", "a: start, b: start")
		r.pass(20 * time.Second)
		if r.take() != "" || len(r.lists) != 1 || len(r.problems) != 0 {
			t.Errorf("a dead sandbox is not left alone: listed at %v, errors %q", r.lists, r.problems)
		}
	})
}

// overrun reports an overrun as a listener does.
func (r *watcherFixture) overrun() {
	r.monitor.lastOverrun.Store(&overrunError{unix.ENOBUFS})
	r.monitor.overruns.Add(1)
	select {
	case r.monitor.relist <- CauseOverrun:
	default:
	}
}

// TestRecordWatcherOverruns: with continuous overruns the pauses between two enqueues of all bonds grow, and each
// enqueue has one report. A single overrun has an effect at once.
func TestRecordWatcherOverruns(t *testing.T) {
	runWatcher(t, nil, func(r *watcherFixture) {
		r.monitor.cfg.Resync = 24 * time.Hour
		r.pass(time.Second)
		r.take()
		r.lists = nil
		const each = 10 * time.Millisecond
		overruns := 0
		for range time.Minute / each {
			r.overrun()
			overruns++
			r.pass(each)
		}
		if n := len(r.lists); n < 9 || n > 13 { // one of them may be a resync
			t.Errorf("every key was enqueued %d times in a minute of overruns", n)
		}
		r.pass(maxRelistPeriod)
		if n := len(r.problems); n < 9 || n > 13 {
			t.Errorf("%d reports", n)
		}
		reported := 0
		for _, p := range r.problems {
			var n int
			if _, err := fmt.Sscanf(p, "watch: events were lost (overruns: %d)", &n); err != nil {
				t.Fatalf("%q: %v", p, err)
			}
			reported += n
		}
		if reported != overruns {
			t.Errorf("%d overruns were reported, want %d", reported, overruns)
		}
		r.pass(calmPeriod + time.Second)
		r.take()
		r.overrun()
		r.pass(0)
		r.expect(t, "an overrun after a calm minute", "a: overrun, b: overrun")
	})
}

// TestRecordWatcherDirDuringOverruns: a failed directory does not wait for the pause of overruns.
func TestRecordWatcherDirDuringOverruns(t *testing.T) {
	runWatcher(t, nil, func(r *watcherFixture) {
		for range 100 {
			r.overrun()
			r.pass(100 * time.Millisecond)
		}
		r.take()
		r.event(func(d *fakeDir) { d.errors <- fsnotify.ErrEventOverflow })
		r.pass(relistPeriod)
		r.expect(t, "after the failure", "a: records listed again, b: records listed again")
	})
}

func TestConfig(t *testing.T) {
	good := newRecords(t).config(t)
	for name, spoil := range map[string]func(*Config){
		"no directory":    func(c *Config) { c.Dir = "" },
		"no KeyOf":        func(c *Config) { c.KeyOf = nil },
		"no List":         func(c *Config) { c.List = nil },
		"negative buffer": func(c *Config) { c.ReceiveBuffer = -1 },
		"negative resync": func(c *Config) { c.Resync = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			spoil(&cfg)
			if _, err := New(cfg); err == nil {
				t.Error("New accepts it")
			}
		})
	}
}
