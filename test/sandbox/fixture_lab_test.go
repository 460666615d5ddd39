//go:build lab

package sandbox

import (
	"cmp"
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

var (
	bin  = flag.String("bin", "../../bin", "directory of the plugins")
	kube = flag.String("kube", "../../.cache/kube/bin", "directory of containerd and its programs; the variable BONDKEEPER_CONTAINERD names another one")
)

// absolute makes the directories absolute for containerd.
func absolute(t *testing.T) (programs Dirs, plugins []string) {
	t.Helper()
	b, err := filepath.Abs(*bin)
	kit.Must(t, err)
	k, err := filepath.Abs(cmp.Or(os.Getenv("BONDKEEPER_CONTAINERD"), *kube))
	kit.Must(t, err)
	return Dirs{Kube: k, CNI: filepath.Join(b, "cni")}, []string{b, filepath.Join(b, "cni")}
}

// startContainerd starts one for a test.
func startContainerd(t *testing.T) *Containerd {
	t.Helper()
	programs, _ := absolute(t)
	dir, err := os.MkdirTemp("/run", "sandbox-") // a tmpfs: snapshots cannot be on an overlay
	kit.Must(t, err)
	c, err := NewContainerd(t.Context(), programs, dir)
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "containerd.log"))
		t.Fatalf("%v\n%s", err, log)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// fixture is a node: containerd, and a collector that queries it in one of two ways.
type fixture struct {
	*testing.T
	c        *Containerd
	k        *Collector
	networks Networks
	// living has a bond throughout a test.
	living *Pod
	made   int
}

func newFixture(t *testing.T, kind string) *fixture {
	t.Helper()
	r := &fixture{T: t, c: startContainerd(t)}
	_, plugins := absolute(t)
	r.networks = Networks{Plugins: plugins, State: filepath.Join(r.c.dir, "records"), Leases: filepath.Join(r.c.dir, "leases")}
	var err error
	r.k, err = NewCollector(r.networks.State, kind+"://"+r.c.Socket(), zaptest.NewLogger(t))
	kit.Must(t, err)
	r.k.Start(t.Context())
	t.Cleanup(func() { _ = r.k.Close() })
	r.living = r.pod(0)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		kit.Must(t, r.with(0).Del(ctx, r.living))
		kit.Must(t, r.living.Remove(ctx))
	})
	return r
}

// with are the networks with the VF of that number of each card.
func (r *fixture) with(vf int) *Networks {
	r.Helper()
	guest, err := topology.Load()
	kit.Must(r.T, err)
	n := r.networks
	for _, c := range guest.Cards {
		n.VFs = append(n.VFs, c.VFs[vf].PCI)
	}
	return &n
}

// pod makes a pod with a bond.
func (r *fixture) pod(vf int) *Pod {
	r.Helper()
	r.made++
	p, err := r.c.NewPod(r.Context(), strings.ToLower(filepath.Base(r.Name()))+string(rune('a'+r.made)), false)
	kit.Must(r.T, err)
	kit.Must(r.T, r.with(vf).Add(r.Context(), p))
	if lease := r.lease(p); lease == "" {
		r.Fatalf("%s has no address", p.ID)
	}
	return p
}

func (r *fixture) lease(p *Pod) string {
	r.Helper()
	lease, err := r.networks.Lease(p.ID)
	kit.Must(r.T, err)
	return lease
}

// checkLiving checks that the living pod has lost nothing and would not be changed.
func (r *fixture) checkLiving() {
	r.Helper()
	if n := r.k.Released(r.living.ID); n != 0 {
		r.Fatalf("the living pod's bond was released %d times", n)
	}
	var out reconcile.Outcome
	kit.Must(r.T, until(r.Context(), "an observation between the changes of other links", func(ctx context.Context) (err error) {
		out, err = r.k.Engine.Inspect(ctx, bondOf(r.living.ID))
		return err
	}))
	if !out.Observed.SandboxAlive || len(out.Plan.Actions) != 0 || r.lease(r.living) == "" {
		r.Fatalf("the living pod's bond: %+v, actions %v; lease %q", out.Status, out.Plan.Actions, r.lease(r.living))
	}
}

// enough is the number of passes that last longer than the grace period.
const enough = int(Grace/time.Second) + 2

// held checks that nothing of a pod is released in this many passes.
func (r *fixture) held(p *Pod, passes int, reason string) {
	r.Helper()
	kit.Must(r.T, r.k.AwaitPasses(r.Context(), passes))
	if n := r.k.Released(p.ID); n != 0 || r.lease(p) == "" {
		r.Errorf("%s: released %d times, lease %q", reason, n, r.lease(p))
	}
	r.checkLiving()
}

// released waits until a pod's bond has been released, once, as by DEL.
func (r *fixture) released(p *Pod) {
	r.Helper()
	kit.Must(r.T, r.k.AwaitPasses(r.Context(), enough))
	kit.Must(r.T, r.k.AwaitReleased(r.Context(), p.ID))
	if n := r.k.Released(p.ID); n != 1 || r.lease(p) != "" {
		r.Errorf("released %d times, lease %q; want once and none", n, r.lease(p))
	}
	r.checkLiving()
}
