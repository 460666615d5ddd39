//go:build lab

package sandbox

import (
	"context"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// TestEnds covers each way in which a pod ends, with each way to query the runtime.
func TestEnds(t *testing.T) {
	for _, kind := range []string{"containerd", "cri"} {
		t.Run(kind, func(t *testing.T) {
			r := newFixture(t, kind)
			for _, end := range []struct {
				name string
				run  func(*fixture)
			}{
				{"with a DEL", withDEL},
				{"without a DEL", withoutDEL},
				{"its process was killed", killed},
				{"wiped away behind the runtime's back", func(r *fixture) { wiped(r, kind) }},
				{"while the runtime is away", whileUnavailable},
				{"while the runtime hangs", whileItHangs},
				{"while the runtime has forgotten everything", whileItHasForgotten},
			} {
				t.Run(end.name, func(t *testing.T) {
					r := *r // the same node, with failures reported by this subtest
					r.T = t
					end.run(&r)
				})
			}
		})
	}
}

// withDEL is the normal end: the collector has nothing to do.
func withDEL(r *fixture) {
	p := r.pod(1)
	kit.Must(r.T, r.with(1).Del(r.Context(), p))
	kit.Must(r.T, p.Remove(r.Context()))
	kit.Must(r.T, r.k.AwaitPasses(r.Context(), enough))
	if n := r.k.Released(p.ID); n != 0 || r.lease(p) != "" {
		r.Errorf("released %d times, lease %q", n, r.lease(p))
	}
	r.checkLiving()
}

// withoutDEL is the end if Multus has lost its cache: the runtime ends the sandbox and its netns.
func withoutDEL(r *fixture) {
	p := r.pod(1)
	kit.Must(r.T, p.Remove(r.Context()))
	r.released(p)
	for _, vf := range r.with(1).VFs {
		if _, err := topology.Netdev(vf); err != nil {
			r.Errorf("a VF of the pod: %v", err)
		}
	}
}

// killed: a sandbox without a process still exists. Its DEL comes when it is stopped.
func killed(r *fixture) {
	p := r.pod(1)
	kit.Must(r.T, p.Kill(r.Context()))
	r.held(p, enough, "its process was killed")
	kit.Must(r.T, p.Remove(r.Context()))
	r.released(p)
}

// wiped: over its own API containerd has lost the sandbox immediately, over the CRI after a restart.
func wiped(r *fixture, kind string) {
	p := r.pod(1)
	kit.Must(r.T, p.Wipe(r.Context()))
	if kind == "cri" {
		r.held(p, enough, "the CRI still lists the sandbox")
		kit.Must(r.T, r.c.Kill())
		kit.Must(r.T, r.c.Start(r.Context(), "root"))
	}
	r.released(p)
}

func whileUnavailable(r *fixture) {
	p := r.pod(1)
	kit.Must(r.T, p.Remove(r.Context()))
	kit.Must(r.T, r.c.Kill())
	r.held(p, enough, "the runtime is away")
	kit.Must(r.T, r.c.Start(r.Context(), "root"))
	r.released(p)
}

func whileItHangs(r *fixture) {
	p := r.pod(1)
	kit.Must(r.T, p.Remove(r.Context()))
	kit.Must(r.T, r.c.Stall())
	r.held(p, 2, "the runtime hangs") // each waits for a response longer than the grace period
	kit.Must(r.T, r.c.Resume())
	r.released(p)
}

// whileItHasForgotten: a containerd that starts with an empty state reports no pod, not even the existing one.
func whileItHasForgotten(r *fixture) {
	p := r.pod(1)
	kit.Must(r.T, p.Remove(r.Context()))
	kit.Must(r.T, r.c.Kill())
	kit.Must(r.T, r.c.Start(r.Context(), "another-root"))
	kit.Must(r.T, until(r.Context(), "an answer without any sandbox", func(ctx context.Context) error {
		ids, err := r.k.Sandboxes(ctx) // its client waits a moment before it connects again
		if len(ids) != 0 {
			r.Errorf("lists %q, want nothing", ids)
		}
		return err
	}))
	r.held(p, enough, "the runtime has forgotten everything")
	kit.Must(r.T, r.c.Kill())
	kit.Must(r.T, r.c.Start(r.Context(), "root"))
	r.released(p)
}
