package runtime

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
)

// Runtime lists sandboxes. Implementations are safe for concurrent use.
type Runtime interface {
	// Sandboxes returns the IDs of all sandboxes of the runtime, in any state: running, stopped, or being made. The
	// list is complete, or there is an error. It may wait until ctx ends if the runtime hangs. Callers must decide
	// whether an empty list is plausible.
	Sandboxes(ctx context.Context) ([]string, error)
	// Populated returns the IDs of the sandboxes that have a container. The kubelet creates the first one after
	// RunPodSandbox, and so ADD of every network, has returned. The list is complete, or there is an error.
	Populated(ctx context.Context) ([]string, error)
	// Events calls wake when a sandbox may be gone and when events may have been missed, until ctx ends. The runtime
	// may come and go. wake is called by one goroutine and must not block.
	Events(ctx context.Context, wake func())
	// Stops calls stopped with the ID of each sandbox whose process has ended, until ctx ends. Such a sandbox never
	// runs again: its networks are deleted next. Ends before the call or while the runtime is unavailable are not
	// reported. stopped is called by one goroutine and must not block.
	Stops(ctx context.Context, stopped func(id string))
	// Close releases the runtime. No other method may be called after it.
	Close() error
}

// The endpoints that are not URLs.
const (
	// Auto uses the one runtime whose socket is in a usual place.
	Auto = "auto"
	// None uses no runtime.
	None = "none"
)

// ErrNone is returned if no runtime is configured.
var ErrNone = errors.New("no container runtime is configured")

// Open returns the runtime at an endpoint:
//
//	auto                                               the one whose socket is in a usual place
//	none                                               no runtime: Sandboxes returns ErrNone
//	containerd:///run/containerd/containerd.sock       containerd by its own API (1.7 and later)
//	cri:///run/crio/crio.sock                          any runtime, by the CRI (v1)
//
// Errors are about the endpoint. Nothing is connected yet: the runtime may start later.
func Open(endpoint string) (Runtime, error) {
	switch endpoint {
	case Auto:
		return newAuto(defaultEndpoints), nil
	case None:
		return none{}, nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host != "" || !filepath.IsAbs(u.Path) {
		return nil, fmt.Errorf("runtime endpoint %q: want %s, %s, or a URL such as containerd:///run/containerd/containerd.sock or cri:///run/crio/crio.sock", endpoint, Auto, None)
	}
	switch u.Scheme {
	case "containerd":
		return openContainerd(u.Path)
	case "cri":
		return openCRI(u.Path)
	}
	return nil, fmt.Errorf("runtime endpoint %q: scheme %q is not known, want containerd or cri", endpoint, u.Scheme)
}

// none is the Runtime without a runtime.
type none struct{}

func (none) Sandboxes(context.Context) ([]string, error) { return nil, ErrNone }
func (none) Populated(context.Context) ([]string, error) { return nil, ErrNone }
func (none) Events(ctx context.Context, _ func())        { <-ctx.Done() }
func (none) Stops(ctx context.Context, _ func(string))   { <-ctx.Done() }
func (none) Close() error                                { return nil }
