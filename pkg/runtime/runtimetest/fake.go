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

// Fake is a container runtime in memory. Like containerd it serves its own API and the CRI
// on one socket. Its methods are safe for concurrent use.
type Fake struct {
	t      testing.TB
	socket string

	mu        sync.Mutex
	server    *grpc.Server // nil while it is away
	made      int
	sandboxes []string
	populated []string
	beginning string // in the store already, and nowhere else
	removed   int
	stopped   []string
	changed   chan struct{} // closed with each removal and stop, and then another
	stalled   chan struct{} // closed when it goes on; nil while it does
	faults    Faults
}

// Faults are what is wrong with a runtime that answers.
type Faults struct {
	// Err fails every list; CutAfter cuts a stream of containers short after so many.
	Err      error
	CutAfter int
	// Empty: it has forgotten everything.
	Empty bool
	// NoStore and NoEvents: it is one that does not have that.
	NoStore, NoEvents bool
}

// NewFake serves a runtime with no sandboxes on socket. It ends with the test.
func NewFake(t testing.TB, socket string) *Fake {
	f := &Fake{t: t, socket: socket, changed: make(chan struct{})}
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

// Begin makes a sandbox as far as one is while its network is added: containerd has it in its store,
// and neither a container nor the CRI reports it.
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

// announce wakes those who wait for news. f.mu is held.
func (f *Fake) announce() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// Remove forgets a sandbox.
func (f *Fake) Remove(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sandboxes = slices.DeleteFunc(f.sandboxes, func(s string) bool { return s == id })
	f.removed++
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
	containersapi.RegisterContainersServer(s, containers{Fake: f})
	sandboxapi.RegisterStoreServer(s, store{Fake: f})
	eventsapi.RegisterEventsServer(s, events{Fake: f})
	cri.RegisterRuntimeServiceServer(s, service{Fake: f})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.server = s
	go func() { _ = s.Serve(l) }() // until Kill
}

// Kill ends it and all its connections. The sandboxes and the socket's file stay.
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

// Break makes it faulty from now on; the zero Faults mend it.
func (f *Fake) Break(faults Faults) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = faults
}
