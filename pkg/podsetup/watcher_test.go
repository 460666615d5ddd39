package podsetup

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// node is a runtime in memory.
type node struct {
	mu      sync.Mutex
	ids     []string
	err     error
	queries int
}

func (n *node) Populated(context.Context) ([]string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.queries++
	return n.ids, n.err
}

func (n *node) set(err error, ids ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ids, n.err = ids, err
}

func (n *node) count() int { n.mu.Lock(); defer n.mu.Unlock(); return n.queries }

func recordOf(id, uid string) *bond.Record {
	return &bond.Record{Key: bond.Key{ContainerID: id, IfName: "bond0"}, Pod: bond.Pod{Namespace: "demo", Name: "p", UID: uid}}
}

func start(t *testing.T, n *node) *Watcher {
	w := New(n, nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return w
}

// pass lets virtual time pass.
func pass(d time.Duration) { <-time.After(d) }

func want(t *testing.T, w *Watcher, rec *bond.Record, evidence string, known bool) {
	t.Helper()
	if e, k := w.Evidence(rec); e != evidence || k != known {
		t.Errorf("evidence %q, known %t; want %q, %t", e, k, evidence, known)
	}
}

func TestAContainerIsEvidence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{ids: []string{"other"}}
		w, rec := start(t, n), recordOf("c1", "")
		want(t, w, rec, "", true) // the runtime was not queried yet
		pass(2 * pollEach)
		want(t, w, rec, "", true)
		n.set(nil, "other", "c1")
		w.Evidence(rec) // a query after the change: an earlier one may have been sent to the runtime before it
		pass(2 * pollEach)
		want(t, w, rec, bond.EvidenceContainer, true)
		want(t, w, recordOf("c2", ""), "", true)
	})
}

func TestNetworkStatusIsEvidence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{err: errors.New("away")}
		w := start(t, n)
		w.NetworkStatus(bond.Pod{Namespace: "demo", Name: "p", UID: "u1"})
		want(t, w, recordOf("c1", "u1"), "", true) // the runtime was not queried yet
		pass(2 * pollEach)
		want(t, w, recordOf("c1", "u1"), bond.EvidenceNetworkStatus, true)
		want(t, w, recordOf("c2", "u2"), "", false)
		want(t, w, recordOf("c3", ""), "", false)
		n.set(nil, "other") // a responding runtime has priority: the status may be an earlier sandbox's
		pass(2 * maxPause)
		w.Evidence(recordOf("c1", "u1"))
		pass(2 * pollEach)
		want(t, w, recordOf("c1", "u1"), "", true)
	})
}

// TestNetworkStatusOfAnEarlierSandbox: it is no evidence for the next sandbox of the pod, whether or not the runtime
// replies.
func TestNetworkStatusOfAnEarlierSandbox(t *testing.T) {
	for name, down := range map[string]error{"the runtime replies": nil, "the runtime is unavailable": errors.New("unavailable")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &node{ids: []string{"other"}, err: down}
				w := start(t, n)
				pod := bond.Pod{Namespace: "demo", Name: "p", UID: "u1"}
				w.NetworkStatus(pod)
				pass(time.Minute)
				rec := recordOf("c2", "u1")
				rec.Setup.Returned = time.Now()
				want(t, w, rec, "", true)
				pass(2 * pollEach)
				want(t, w, rec, "", down == nil)
				w.NetworkStatus(pod)
				want(t, w, rec, map[bool]string{true: "", false: bond.EvidenceNetworkStatus}[down == nil], true)
			})
		})
	}
}

// A runtime that stops responding is not known to have no container.
func TestUnavailableRuntimeIsNoEvidence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{ids: []string{"other"}}
		w, rec := start(t, n), recordOf("c1", "")
		want(t, w, rec, "", true)
		pass(2 * pollEach)
		want(t, w, rec, "", true)
		n.set(errors.New("away"))
		for range 30 {
			pass(pollEach)
			w.Evidence(rec)
		}
		want(t, w, rec, "", false)
	})
}

// A runtime without any pod is another one than that of the node's pods: docker's containerd, for example.
func TestRuntimeWithoutPodsIsNoEvidence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, rec := start(t, &node{}), recordOf("c1", "u1")
		w.Evidence(rec)
		for range 30 {
			pass(pollEach)
			want(t, w, rec, "", false)
		}
		w.NetworkStatus(rec.Pod)
		want(t, w, rec, bond.EvidenceNetworkStatus, true)
	})
}

// A pod that is in set-up when the agent starts stays so until the runtime was queried: it may have been for longer than
// any timeout.
func TestStartOfTheAgentEndsNoSetup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, n := range map[string]*node{"replies": {ids: []string{"other"}}, "fails": {err: errors.New("unavailable")}} {
			w, rec := start(t, n), recordOf("c1", "u1")
			rec.Setup.Returned = time.Now().Add(-time.Hour)
			want(t, w, rec, "", true)
			synctest.Wait()
			want(t, w, rec, "", name == "replies")
		}
	})
}

// Without a pod in set-up the runtime is not queried.
func TestNoNeedlessQueries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{}
		w := start(t, n)
		pass(time.Hour)
		if n.count() != 0 {
			t.Fatalf("queried %d times without a pod in set-up", n.count())
		}
		w.Evidence(recordOf("c1", ""))
		pass(time.Hour)
		if n.count() > 2 {
			t.Errorf("queried %d times for one pod", n.count())
		}
	})
}
