// Package runtime knows which sandboxes a node's container runtime has: containerd through
// its own client, any other (CRI-O) through the CRI.
//
// It only asks. It changes nothing in a runtime, and knows neither bonds nor records; who
// is to be released is decided elsewhere.
package runtime

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
)

// Runtime tells which sandboxes there are. Implementations are safe for concurrent use.
type Runtime interface {
	// Sandboxes are the IDs of all sandboxes that the runtime has, in whatever state: running,
	// stopped, or half made. The list is complete; where it cannot be had, there is an error and
	// nothing is known. A runtime that hangs makes it wait until ctx ends.
	//
	// An empty list is an answer, too. Whether it can be true is for the caller to judge.
	Sandboxes(ctx context.Context) ([]string, error)
	// Populated are the IDs of the sandboxes that have a container. The kubelet creates the first one when RunPodSandbox
	// has returned, and with it ADD of every network. The list is complete, or there is an error.
	Populated(ctx context.Context) ([]string, error)
	// Events calls wake when a sandbox may have gone, and whenever such news may have been
	// missed, until ctx ends. It needs no runtime to be there and follows one that comes and goes.
	// wake is called from one goroutine and must not block.
	Events(ctx context.Context, wake func())
	// Stops calls stopped with the ID of each sandbox whose process has ended, as soon as the runtime reports it, until ctx
	// ends. Such a sandbox never runs again: its networks are deleted next. What happens while the runtime is away, or
	// before the call, is not reported. stopped is called from one goroutine and must not block.
	Stops(ctx context.Context, stopped func(id string))
	// Close lets go of the runtime. Nothing else may be called after it.
	Close() error
}

// The endpoints that are no URL.
const (
	// Auto is the one runtime whose socket is in a usual place.
	Auto = "auto"
	// None knows nothing.
	None = "none"
)

// ErrNone is what there is to know without a runtime.
var ErrNone = errors.New("no container runtime is asked")

// Open is the runtime at an endpoint:
//
//	auto                                               the one whose socket is in a usual place
//	none                                               nothing is known: Sandboxes answers ErrNone
//	containerd:///run/containerd/containerd.sock       containerd by its own API (1.7 and later)
//	cri:///run/crio/crio.sock                          any runtime, by the CRI (v1)
//
// The error says what is wrong with the endpoint. Nothing is connected yet: a runtime
// that is not there may come later.
func Open(endpoint string) (Runtime, error) {
	switch endpoint {
	case Auto:
		return newAuto(usual), nil
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

// none is no runtime.
type none struct{}

func (none) Sandboxes(context.Context) ([]string, error) { return nil, ErrNone }
func (none) Populated(context.Context) ([]string, error) { return nil, ErrNone }
func (none) Events(ctx context.Context, _ func())        { <-ctx.Done() }
func (none) Stops(ctx context.Context, _ func(string))   { <-ctx.Done() }
func (none) Close() error                                { return nil }
