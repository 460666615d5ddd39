package runtimetest

import (
	"context"
	"slices"
	"testing"
	"time"
)

// timeout bounds every wait for an expected event. A client that lost its server waits up to some seconds before it
// tries again.
const timeout = 2 * time.Minute

// Runtime is the subject of the contract: the methods of runtime.Runtime, which documents them.
type Runtime interface {
	Sandboxes(ctx context.Context) ([]string, error)
	Populated(ctx context.Context) ([]string, error)
	Events(ctx context.Context, wake func())
	Stops(ctx context.Context, stopped func(id string))
	Close() error
}

// Server is a runtime with ways to break it. An error in them ends the test.
type Server interface {
	// Add makes a sandbox and returns its ID. Stop ends its process, as a crash does. Remove makes the runtime forget
	// it.
	Add() string
	// Populate creates a container in a sandbox.
	Populate(id string)
	Stop(id string)
	Remove(id string)
	// Kill kills the runtime, Start starts it again with its previous sandboxes.
	Kill()
	Start()
	// Stall makes it hang until Resume.
	Stall()
	Resume()
}

// RunContract runs the suite. open makes a client of the server, which may not be running then.
func RunContract(t *testing.T, s Server, open func(t *testing.T) Runtime) {
	for _, c := range []struct {
		name string
		run  func(*fixture)
	}{
		{"every sandbox is listed until it is removed", listed},
		{"a runtime that is unavailable has no reply", unavailable},
		{"a runtime that hangs has no reply", hangs},
		{"a removal wakes", removalWakes},
		{"a restart wakes", restartWakes},
		{"a sandbox that stops is reported", stopReported},
		{"a sandbox with a container is known", populated},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := &fixture{T: t, s: s, r: open(t)}
			t.Cleanup(func() { _ = st.r.Close() })
			c.run(st)
		})
	}
}

type fixture struct {
	*testing.T
	s Server
	r Runtime
}

// firstList returns the first list without an error.
func (st *fixture) firstList() []string {
	st.Helper()
	ctx, cancel := context.WithTimeout(st.Context(), timeout)
	defer cancel()
	retry := time.NewTicker(100 * time.Millisecond)
	defer retry.Stop()
	for {
		ids, err := st.r.Sandboxes(ctx)
		if err == nil {
			return ids
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			st.Fatalf("no answer: %v", err)
		}
	}
}

// want checks the next reply: a list that is returned is complete.
func (st *fixture) want(there []string, gone ...string) {
	st.Helper()
	ids := st.firstList()
	for _, id := range there {
		if !slices.Contains(ids, id) {
			st.Errorf("sandbox %s is there and not listed in %q", id, ids)
		}
	}
	for _, id := range gone {
		if slices.Contains(ids, id) {
			st.Errorf("sandbox %s is gone and listed in %q", id, ids)
		}
	}
	if slices.Sort(ids); len(slices.Compact(slices.Clone(ids))) != len(ids) {
		st.Errorf("listed twice: %q", ids)
	}
}

// wantNoReply fails the test if there is a reply within a second.
func (st *fixture) wantNoReply() {
	st.Helper()
	ctx, cancel := context.WithTimeout(st.Context(), time.Second)
	defer cancel()
	if ids, err := st.r.Sandboxes(ctx); err == nil {
		st.Errorf("answered %q, want an error", ids)
	}
}

func listed(st *fixture) {
	a, b := st.s.Add(), st.s.Add()
	st.want([]string{a, b})
	st.s.Stop(a)
	st.want([]string{a, b})
	st.s.Remove(a)
	st.want([]string{b}, a)
	st.s.Remove(b)
	st.want(nil, a, b)
}

func unavailable(st *fixture) {
	a, b := st.s.Add(), st.s.Add()
	st.want([]string{a, b})
	st.s.Kill()
	st.wantNoReply()
	st.s.Start()
	st.want([]string{a, b})
	st.s.Remove(a)
	st.s.Remove(b)
}

func hangs(st *fixture) {
	a := st.s.Add()
	st.want([]string{a})
	st.s.Stall()
	st.wantNoReply()
	st.s.Resume()
	st.want([]string{a})
	st.s.Remove(a)
}

// watch follows the events until the test ends.
func (st *fixture) watch() <-chan struct{} {
	woken := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(st.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		st.r.Events(ctx, func() {
			select {
			case woken <- struct{}{}:
			default:
			}
		})
	}()
	st.Cleanup(func() { cancel(); <-done })
	return woken
}

// await waits for a wake. again, if it is not nil, is repeated until then, because a runtime does not report when its
// events start.
func (st *fixture) await(woken <-chan struct{}, reason string, again func()) {
	st.Helper()
	late := time.After(timeout)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-woken:
			return
		case <-tick.C:
			again()
		case <-late:
			st.Fatalf("not woken: %s", reason)
		}
	}
}

func nothing() {}

func removalWakes(st *fixture) {
	woken := st.watch()
	st.await(woken, "events are heard from now on", nothing)
	st.await(woken, "a sandbox was removed", func() { st.s.Remove(st.s.Add()) })
}

func restartWakes(st *fixture) {
	woken := st.watch()
	st.await(woken, "events are heard from now on", nothing)
	st.s.Kill()
	st.s.Start()
	st.await(woken, "what happened meanwhile was missed", nothing)
}

func stopReported(st *fixture) {
	received := make(chan string, 1000)
	ctx, cancel := context.WithCancel(st.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		st.r.Stops(ctx, func(id string) { received <- id })
	}()
	st.Cleanup(func() { cancel(); <-done })
	running, stopped := st.s.Add(), map[string]bool{}
	late := time.After(timeout)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for { // a runtime does not report when its events start
		select {
		case id := <-received:
			st.s.Remove(running)
			if !stopped[id] {
				st.Errorf("%s, which is no sandbox that ended, is reported as stopped", id)
			}
			return
		case <-tick.C:
			id := st.s.Add()
			st.s.Stop(id)
			stopped[id] = true
			defer st.s.Remove(id)
		case <-late:
			st.Fatal("no stop was reported")
		}
	}
}

// populated: the sandbox itself may be represented by a container, which does not count.
func populated(st *fixture) {
	empty, full := st.s.Add(), st.s.Add()
	defer st.s.Remove(empty)
	defer st.s.Remove(full)
	st.s.Populate(full)
	ids, err := st.r.Populated(st.Context())
	if err != nil || !slices.Contains(ids, full) || slices.Contains(ids, empty) {
		st.Errorf("sandboxes with a container: %v (%v), want %s and not %s", ids, err, full, empty)
	}
}
