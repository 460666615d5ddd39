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

// usual are the endpoints where runtimes are found.
var usual = []string{
	"containerd:///run/containerd/containerd.sock",
	"containerd:///run/k3s/containerd/containerd.sock",
	"cri:///run/crio/crio.sock",
}

// auto is the one runtime that is there. It is looked for until it is found, for the agent may
// start before it, and then stays.
type auto struct {
	candidates []string

	mu    sync.Mutex
	found Runtime
}

func newAuto(candidates []string) *auto { return &auto{candidates: candidates} }

func (a *auto) Sandboxes(ctx context.Context) ([]string, error) {
	r, err := a.find()
	if err != nil {
		return nil, err
	}
	return r.Sandboxes(ctx)
}

func (a *auto) Populated(ctx context.Context) ([]string, error) {
	r, err := a.find()
	if err != nil {
		return nil, err
	}
	return r.Populated(ctx)
}

func (a *auto) Events(ctx context.Context, wake func()) {
	follow(ctx, func(ctx context.Context) error {
		r, err := a.find()
		if err == nil {
			r.Events(ctx, wake)
		}
		return err
	})
}

func (a *auto) Stops(ctx context.Context, stopped func(string)) {
	follow(ctx, func(ctx context.Context) error {
		r, err := a.find()
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

// find does not choose between two: which of them has the pods cannot be seen from outside, and the
// wrong one would say of every pod that it has gone.
func (a *auto) find() (Runtime, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.found != nil {
		return a.found, nil
	}
	var there []string
	for _, endpoint := range a.candidates {
		_, socket, _ := strings.Cut(endpoint, "://")
		switch _, err := os.Stat(socket); {
		case err == nil:
			there = append(there, endpoint)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("look for a container runtime: %w", err)
		}
	}
	if len(there) != 1 {
		return nil, fmt.Errorf("container runtime: found %d sockets %q, want one of %q; name the endpoint", len(there), there, a.candidates)
	}
	r, err := Open(there[0])
	a.found = r
	return r, err
}
