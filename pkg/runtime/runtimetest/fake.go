package runtimetest

import (
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"testing"

	containersapi "github.com/containerd/containerd/api/services/containers/v1"
	eventsapi "github.com/containerd/containerd/api/services/events/v1"
	sandboxapi "github.com/containerd/containerd/api/services/sandbox/v1"
	"google.golang.org/grpc"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Fake is a container runtime in memory. Like containerd it serves its own API and the CRI on one socket. Its methods
// are safe for concurrent use.
type Fake struct {
	t      testing.TB
	socket string

	mu        sync.Mutex
	server    *grpc.Server // nil while it is stopped
	made      int
	sandboxes []string
	populated []string
	beginning string // a sandbox that is only in the store so far
	removed   []string
	stopped   []string
	changed   chan struct{} // closed at each removal and stop, and then replaced
	stalled   chan struct{} // closed by Resume; nil while it is not stalled
	faults    Faults
	crio      *CRIO
	streams   int
}

// Faults are faults of a runtime that responds.
type Faults struct {
	// Err fails every list; CutAfter ends a stream of containers after this many.
	Err      error
	CutAfter int
	// Empty: it has lost everything.
	Empty bool
	// NoStore: it has no sandbox store.
	NoStore bool
	// NoSandboxField: only the CRI plugin's metadata of a container name its sandbox, as before containerd 2.0.
	NoSandboxField bool
}

// NewFake serves a runtime without sandboxes on socket. It ends with the test.
func NewFake(t testing.TB, socket string) *Fake { return newFake(t, socket, nil) }

func newFake(t testing.TB, socket string, crio *CRIO) *Fake {
	f := &Fake{t: t, socket: socket, changed: make(chan struct{}), crio: crio}
	f.Start()
	t.Cleanup(func() {
		f.Resume()
		f.Kill()
	})
	return f
}

// Socket is the path that it serves on.
func (f *Fake) Socket() string { return f.socket }

// Add makes a sandbox.
func (f *Fake) Add() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.made++
	id := fmt.Sprintf("%064x", f.made)
	f.sandboxes = append(f.sandboxes, id)
	return id
}

// Populate makes a container in a sandbox.
func (f *Fake) Populate(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.populated = append(f.populated, id)
}

// Begin makes a sandbox as it is while its network is added: containerd has it in its store, but neither a container
// nor the CRI reports it.
func (f *Fake) Begin() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.beginning = "beginning"
	return f.beginning
}

// Stop ends a sandbox's process. It stays listed.
func (f *Fake) Stop(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped = append(f.stopped, id)
	f.announce()
}

// announce wakes the event streams. f.mu is held.
func (f *Fake) announce() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// Remove forgets a sandbox.
func (f *Fake) Remove(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sandboxes = slices.DeleteFunc(f.sandboxes, func(s string) bool { return s == id })
	f.removed = append(f.removed, id)
	f.announce()
}

// Start serves again after Kill.
func (f *Fake) Start() {
	_ = os.Remove(f.socket)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: f.socket, Net: "unix"})
	if err != nil {
		f.t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	s := grpc.NewServer()
	if f.crio == nil {
		containersapi.RegisterContainersServer(s, containers{Fake: f})
		sandboxapi.RegisterStoreServer(s, store{Fake: f})
		eventsapi.RegisterEventsServer(s, events{Fake: f})
	}
	cri.RegisterRuntimeServiceServer(s, service{Fake: f})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.server = s
	go func() { _ = s.Serve(l) }() // until Kill
}

// Kill stops the server and all its connections. The sandboxes and the socket's file stay.
func (f *Fake) Kill() {
	f.mu.Lock()
	s := f.server
	f.server = nil
	f.mu.Unlock()
	if s != nil {
		s.Stop()
	}
}

// Stall makes every call hang until Resume.
func (f *Fake) Stall() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stalled = make(chan struct{})
}

// Resume ends a Stall.
func (f *Fake) Resume() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stalled != nil {
		close(f.stalled)
		f.stalled = nil
	}
}

// Break causes faults from now on; the zero Faults ends them.
func (f *Fake) Break(faults Faults) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = faults
}
