package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
)

// defaultEndpoints are the usual places of runtimes.
var defaultEndpoints = []string{
	"containerd:///run/containerd/containerd.sock",
	"containerd:///run/k3s/containerd/containerd.sock",
	"cri:///run/crio/crio.sock",
}

// auto uses the one runtime that it finds. It looks again until it finds one, because the agent may start first, and
// then stays with it.
type auto struct {
	candidates []string

	mu    sync.Mutex
	found Runtime
}

func newAuto(candidates []string) *auto { return &auto{candidates: candidates} }

func (a *auto) Sandboxes(ctx context.Context) ([]string, error) {
	r, err := a.resolve()
	if err != nil {
		return nil, err
	}
	return r.Sandboxes(ctx)
}

func (a *auto) Populated(ctx context.Context) ([]string, error) {
	r, err := a.resolve()
	if err != nil {
		return nil, err
	}
	return r.Populated(ctx)
}

func (a *auto) Events(ctx context.Context, wake func()) {
	resubscribe(ctx, func(ctx context.Context) error {
		r, err := a.resolve()
		if err == nil {
			r.Events(ctx, wake)
		}
		return err
	})
}

func (a *auto) Stops(ctx context.Context, stopped func(string)) {
	resubscribe(ctx, func(ctx context.Context) error {
		r, err := a.resolve()
		if err == nil {
			r.Stops(ctx, stopped)
		}
		return err
	})
}

func (a *auto) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.found == nil {
		return nil
	}
	return a.found.Close()
}

// resolve does not choose between two runtimes: which one has the pods cannot be seen from outside, and for the wrong
// one every pod is gone.
func (a *auto) resolve() (Runtime, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.found != nil {
		return a.found, nil
	}
	var present []string
	for _, endpoint := range a.candidates {
		_, socket, _ := strings.Cut(endpoint, "://")
		switch _, err := os.Stat(socket); {
		case err == nil:
			present = append(present, endpoint)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("look for a container runtime: %w", err)
		}
	}
	if len(present) != 1 {
		return nil, fmt.Errorf("container runtime: found %d sockets %q, want one of %q; name the endpoint", len(present), present, a.candidates)
	}
	r, err := Open(present[0])
	a.found = r
	return r, err
}
