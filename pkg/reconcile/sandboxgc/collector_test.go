package sandboxgc_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile/sandboxgc"
)

const grace = 5*time.Minute + 20*time.Second // not a multiple of a minute, after which it checks anyway

// node is a Collector's environment, and what it did there. A script holds the lock except while time passes.
type node struct {
	mu      sync.Mutex
	t       *testing.T
	records map[string]*bond.Record
	// alive are the netns by path; blind fails to check one.
	alive map[string]bool
	blind error
	// listed is the runtime's list, err its error.
	listed  []string
	err     error
	answers int
	// hangs makes the runtime's replies wait for the end of their context.
	hangs bool
	wake  func()
	// netnsEnded is called by end; nil if nothing sees it.
	netnsEnded func()
	// failures makes the releases of a container fail.
	failures map[string]error
	// stalls has containers whose release waits for the end of its context.
	stalls   map[string]bool
	released map[string]time.Duration // since the start
	tries    int
	began    time.Time
	logs     *observer.ObservedLogs
}

func (n *node) Sandboxes(ctx context.Context) ([]string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hangs {
		n.mu.Unlock()
		<-ctx.Done()
		n.mu.Lock()
		return nil, ctx.Err()
	}
	n.answers++
	return slices.Clone(n.listed), n.err
}

func (n *node) Events(ctx context.Context, wake func()) {
	n.mu.Lock()
	n.wake = wake
	n.mu.Unlock()
	<-ctx.Done()
}

func (n *node) ReleaseRecord(ctx context.Context, r *bond.Record) error {
	k := r.Key
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tries++
	if n.stalls[k.ContainerID] {
		n.mu.Unlock()
		<-ctx.Done()
		n.mu.Lock()
		return ctx.Err()
	}
	if err := n.failures[k.ContainerID]; err != nil {
		return err
	}
	if _, twice := n.released[k.ContainerID]; twice {
		n.t.Errorf("%s was released twice", k)
	}
	n.released[k.ContainerID] = time.Since(n.began)
	delete(n.records, k.ContainerID)
	return nil
}

func (n *node) list(context.Context) ([]*bond.Record, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []*bond.Record
	for _, id := range slices.Sorted(maps.Keys(n.records)) {
		list = append(list, n.records[id].Clone())
	}
	return list, nil
}

func (n *node) lives(s bond.Sandbox) (bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.alive[s.Path], n.blind
}

// pod makes an existing pod.
func (n *node) pod(id string) *bond.Record {
	path := "/run/netns/" + id
	n.records[id] = &bond.Record{
		Key: bond.Key{ContainerID: id, IfName: "bond0"}, Phase: bond.PhaseReady, Created: time.Now(),
		Sandbox: bond.Sandbox{Path: path, Dev: 4, Inode: 4026532000},
	}
	n.alive[path] = true
	n.listed = append(n.listed, id)
	return n.records[id]
}

// end ends a pod without a DEL.
func (n *node) end(id string) {
	n.alive["/run/netns/"+id] = false
	n.forget(id)
	if n.netnsEnded != nil {
		n.netnsEnded()
	}
}

// forget makes the runtime forget a sandbox.
func (n *node) forget(id string) {
	n.listed = slices.DeleteFunc(n.listed, func(s string) bool { return s == id })
}

// run is a node with a Collector, in virtual time: it has an existing pod "other", and "pod".
func run(t *testing.T, script func(n *node, r *bond.Record, pass func(time.Duration))) *node {
	t.Helper()
	n := &node{t: t, records: map[string]*bond.Record{}, alive: map[string]bool{}, failures: map[string]error{}, released: map[string]time.Duration{}}
	core, logs := observer.New(zap.InfoLevel)
	n.logs = logs
	synctest.Test(t, func(t *testing.T) {
		n.began = time.Now()
		n.pod("other")
		r := n.pod("pod")
		c := sandboxgc.New(sandboxgc.Config{
			Engine: n, Runtime: n, Grace: grace,
			Records: n.list, SandboxAlive: n.lives, Log: zap.New(core),
		})
		n.netnsEnded = c.Wake
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); c.Run(ctx) }()
		synctest.Wait()
		n.mu.Lock()
		script(n, r, func(d time.Duration) {
			n.mu.Unlock()
			<-time.After(d)
			synctest.Wait()
			n.mu.Lock()
		})
		n.mu.Unlock()
		cancel()
		<-done
	})
	if at, gone := n.released["other"]; gone {
		t.Errorf("a living pod's bond was released after %s", at)
	}
	return n
}

func TestReleasedOnceAfterTheGracePeriod(t *testing.T) {
	n := run(t, func(n *node, _ *bond.Record, pass func(time.Duration)) {
		pass(time.Hour)
		if n.answers != 0 {
			t.Errorf("the runtime was asked %d times while every pod lived", n.answers)
		}
		n.end("pod")
		pass(time.Hour)
	})
	if at := n.released["pod"] - time.Hour; at < grace || at > grace+time.Minute {
		t.Errorf("released %s after its end, want %s and up to a minute", at, grace)
	}
	if n.answers < 2 || n.tries != 1 {
		t.Errorf("%d answers of the runtime, %d releases tried; want two or more, and one", n.answers, n.tries)
	}
}

// TestEndWithoutAnEvent: the end of a sandbox that nothing reports is found nevertheless, later.
func TestEndWithoutAnEvent(t *testing.T) {
	n := run(t, func(n *node, _ *bond.Record, pass func(time.Duration)) {
		n.netnsEnded = nil
		pass(time.Hour)
		n.end("pod")
		pass(time.Hour)
	})
	if at := n.released["pod"] - time.Hour; at < grace || at > grace+15*time.Minute {
		t.Errorf("released %s after its end, want %s and up to a quarter of an hour", at, grace)
	}
}

// TestReleaseThatStallsDelaysNoOther: hanging IPAM plugins delay no other bond.
func TestReleaseThatStallsDelaysNoOther(t *testing.T) {
	n := run(t, func(n *node, _ *bond.Record, pass func(time.Duration)) {
		n.stalls = map[string]bool{}
		for i := range 7 {
			id := fmt.Sprint("first", i) // before "pod"
			n.pod(id)
			n.stalls[id] = true
			n.end(id)
		}
		n.end("pod")
		pass(grace + 3*time.Minute)
	})
	if at := n.released["pod"]; at == 0 || at > grace+time.Minute || len(n.released) != 1 {
		t.Errorf("released %v, want pod alone, at once", n.released)
	}
}

// TestAnswersBeginAndEnd: the first list without the sandbox and the deciding one are a complete period apart.
func TestAnswersBeginAndEnd(t *testing.T) {
	n := run(t, func(n *node, _ *bond.Record, pass func(time.Duration)) {
		n.alive["/run/netns/pod"] = false
		pass(time.Hour) // the netns has been gone for long, but DEL may come
		n.forget("pod")
		pass(grace - time.Second)
		if n.tries != 0 {
			t.Error("released before the runtime had missed it for the whole period")
		}
		pass(time.Hour)
	})
	if n.tries != 1 {
		t.Errorf("%d releases, want one", n.tries)
	}
}

// TestNeverReleased covers everything that protects a bond.
func TestNeverReleased(t *testing.T) {
	unavailable := errors.New("connection refused")
	every := func(n *node, d time.Duration, pass func(time.Duration), then func()) {
		for range 50 {
			pass(d)
			then()
		}
	}
	for name, script := range map[string]func(n *node, r *bond.Record, pass func(time.Duration)){
		"all is well": func(_ *node, _ *bond.Record, pass func(time.Duration)) { pass(24 * time.Hour) },
		"the sandbox is listed, the netns is gone": func(n *node, _ *bond.Record, pass func(time.Duration)) {
			n.alive["/run/netns/pod"] = false
			pass(24 * time.Hour)
		},
		"the netns lives, the sandbox is not listed": func(n *node, _ *bond.Record, pass func(time.Duration)) { n.forget("pod"); pass(24 * time.Hour) },
		"every netns lives, nothing is listed":       func(n *node, _ *bond.Record, pass func(time.Duration)) { n.listed = nil; pass(24 * time.Hour) },
		"the runtime is away": func(n *node, _ *bond.Record, pass func(time.Duration)) {
			n.err = unavailable
			n.end("pod")
			pass(24 * time.Hour)
		},
		"the runtime hangs": func(n *node, _ *bond.Record, pass func(time.Duration)) {
			n.hangs = true
			n.end("pod")
			pass(24 * time.Hour)
		},
		"an error that came with a list": func(n *node, _ *bond.Record, pass func(time.Duration)) {
			n.end("pod")
			n.err = unavailable
			n.listed = []string{"other"}
			pass(24 * time.Hour)
		},
		"nothing at all is listed": func(n *node, _ *bond.Record, pass func(time.Duration)) {
			n.end("pod")
			n.listed = nil
			pass(24 * time.Hour)
		},
		"the netns cannot be looked at": func(n *node, _ *bond.Record, pass func(time.Duration)) {
			n.end("pod")
			n.blind = errors.New("too many open files")
			pass(24 * time.Hour)
		},
		"it is a tombstone already": func(n *node, r *bond.Record, pass func(time.Duration)) {
			n.end("pod")
			r.Phase = bond.PhaseDeleting
			pass(24 * time.Hour)
		},
		"the runtime fails within each period": func(n *node, _ *bond.Record, pass func(time.Duration)) {
			n.end("pod")
			every(n, 2*time.Minute, pass, func() {
				if n.err == nil {
					n.err = unavailable
				} else {
					n.err = nil
				}
			})
		},
		"the runtime restarts within each period and loads": func(n *node, _ *bond.Record, pass func(time.Duration)) {
			n.end("pod")
			full := n.listed
			every(n, 4*time.Minute, pass, func() { n.listed = nil; pass(90 * time.Second); n.listed = full })
		},
		"it shows again within each period": func(n *node, _ *bond.Record, pass func(time.Duration)) {
			n.end("pod")
			every(n, 4*time.Minute, pass, func() { n.listed = append(n.listed, "pod"); pass(90 * time.Second); n.forget("pod") })
		},
		"another sandbox's record takes the name within each period": func(n *node, r *bond.Record, pass func(time.Duration)) {
			n.end("pod")
			every(n, 4*time.Minute, pass, func() { c := r.Clone(); c.Sandbox.Cookie += uint64(time.Now().Unix()); n.records["pod"] = c })
		},
	} {
		t.Run(name, func(t *testing.T) {
			if n := run(t, script); n.tries != 0 {
				t.Errorf("released: %v", n.released)
			}
		})
	}
}

// TestRunningADDIsLeftAlone: its netns can be gone (the pod was deleted), and the plugin cleans up.
func TestRunningADDIsLeftAlone(t *testing.T) {
	n := run(t, func(n *node, r *bond.Record, pass func(time.Duration)) {
		r.Phase = bond.PhaseAdding
		n.end("pod")
		for range 30 {
			r.Created = time.Now().Add(time.Minute) // a clock that was put back, too
			pass(time.Minute)
		}
		if n.answers != 0 || n.tries != 0 {
			t.Errorf("%d answers, %d releases; want none", n.answers, n.tries)
		}
		pass(time.Hour) // without clean-up: the plugin was killed
	})
	if n.tries != 1 {
		t.Errorf("%d releases of what an ADD that was killed left, want one", n.tries)
	}
}

func TestWokenByTheRuntime(t *testing.T) {
	n := run(t, func(n *node, _ *bond.Record, pass func(time.Duration)) {
		pass(5 * time.Second)
		n.end("pod")
		for range 100 {
			n.wake()
		}
		pass(time.Hour)
	})
	if at := n.released["pod"]; at != 6*time.Second+grace {
		t.Errorf("released after %s, want the period from the look that the event caused", at)
	}
}

// TestFailedReleaseDelaysNoOther, and is retried with each pass.
func TestFailedReleaseDelaysNoOther(t *testing.T) {
	n := run(t, func(n *node, _ *bond.Record, pass func(time.Duration)) {
		for i := range 3 {
			n.pod(fmt.Sprint("pod", i))
		}
		for _, id := range []string{"pod", "pod0", "pod1", "pod2"} {
			n.end(id)
		}
		n.failures["pod"] = errors.New("locked by another process")
		pass(grace + 10*time.Minute)
		if len(n.released) != 3 || n.tries < 3+9 || n.tries > 3+12 {
			t.Errorf("released %v in %d tries; want three, and one try a minute of the fourth", n.released, n.tries)
		}
		delete(n.failures, "pod")
		pass(time.Minute)
	})
	if len(n.released) != 4 {
		t.Errorf("released %v, want all four", n.released)
	}
}

// TestLogsOnce checks that a reason for waiting, and its end, are logged once.
func TestLogsOnce(t *testing.T) {
	n := run(t, func(n *node, _ *bond.Record, pass func(time.Duration)) {
		n.err = errors.New("connection refused")
		n.end("pod")
		pass(time.Hour)
		n.err = nil
		pass(time.Hour)
	})
	var reported []string
	for _, e := range n.logs.All() {
		reported = append(reported, e.Level.String())
	}
	if !slices.Equal(reported, []string{"warn", "info", "info", "warn"}) {
		t.Errorf("reported %v; want what is wrong, that it is over, that the sandbox is gone, that it was released", n.logs.All())
	}
	if held := n.logs.All()[0]; held.ContextMap()["error"] != "connection refused" {
		t.Errorf("what is wrong: %v", held)
	}
}
