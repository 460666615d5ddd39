package reconcile_test

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/pkg/store"
)

// clock is a time that tests set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now }
func (c *clock) turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// ipam counts releases, and returns err.
type ipam struct {
	mu     sync.Mutex
	calls  int
	err    error
	during func() // may be nil
}

func (i *ipam) Uses(*bond.Record) bool { return true }

func (i *ipam) PluginPath(r *bond.Record) string { return r.CNI.Path }

func (i *ipam) Release(context.Context, *bond.Record) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.calls++
	if i.during != nil {
		i.during()
	}
	return i.err
}

// fixture is an engine over a fake node and a real store.
type fixture struct {
	t *testing.T
	*scenario.Node
	store  *store.Store
	clock  *clock
	ipam   *ipam
	engine *reconcile.Engine
}

func newFixture(t *testing.T, options bond.Options) *fixture {
	t.Helper()
	s, err := store.Open(tmpfsDir(t))
	if err != nil {
		t.Fatal(err)
	}
	r := &fixture{t: t, Node: scenario.New(options), store: s, clock: &clock{now: time.Unix(1e9, 0)}, ipam: &ipam{}}
	must(t, s.Save(r.Record))
	r.restart()
	return r
}

// tmpfsDir is a temporary directory in memory, as the store's own is. On a disk, thousands of small files take several
// times as long.
func tmpfsDir(t *testing.T) string {
	t.Helper()
	const tmpfs = "/dev/shm"
	dir, err := os.MkdirTemp(tmpfs, "bondkeeper-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// ready is a fixture whose bond is complete and whose ADD has returned.
func ready(t *testing.T, options bond.Options) *fixture {
	t.Helper()
	r := newFixture(t, options)
	must(t, r.engine.Update(t.Context(), r.Record.Key, func(rec *bond.Record) error { rec.Phase = bond.PhaseAdding; return nil }))
	must(t, endADD(t.Context(), r.engine, r.wantState(bond.StateReady)))
	return r
}

// endADD saves what ADD saves at its end.
func endADD(ctx context.Context, e *reconcile.Engine, out reconcile.Outcome) error {
	return e.Update(ctx, out.Record.Key, func(rec *bond.Record) error {
		rec.Phase, rec.BondIndex, rec.Settled = bond.PhaseReady, out.Record.BondIndex, out.Record.Settled
		return nil
	})
}

// restart starts a new agent, which has only the record.
func (r *fixture) restart() {
	r.engine = reconcile.New(reconcile.Config{Kernel: r.Fake, Store: r.store, IPAM: r.ipam, Now: r.clock.Now, Downs: r.Downs})
}

func (r *fixture) converge() (reconcile.Outcome, error) {
	r.t.Helper()
	return r.engine.Converge(r.t.Context(), r.Record.Key)
}

// convergeUntilIdle converges until nothing is waited for.
func (r *fixture) convergeUntilIdle() reconcile.Outcome {
	r.t.Helper()
	for range 40 {
		out, _ := r.converge()
		if out.RetryAfter == 0 {
			return out
		}
		r.clock.turn(out.RetryAfter)
	}
	r.t.Fatalf("no end of retries\n%s", r.Node)
	return reconcile.Outcome{}
}

func (r *fixture) wantState(want bond.State) reconcile.Outcome {
	r.t.Helper()
	out := r.convergeUntilIdle()
	if out.Status.State != want {
		r.t.Fatalf("state %s (%s), want %s\n%s", out.Status.State, out.Status.Reason, want, r.Node)
	}
	return out
}

func checkAbsent(t *testing.T, r *fixture) {
	t.Helper()
	if _, err := r.store.Load(r.Record.Key); !errors.Is(err, bond.ErrNotFound) {
		t.Fatalf("record is still there: %v", err)
	}
	if _, ok := r.Link(scenario.PodPath, scenario.BondIf); ok {
		t.Fatalf("bond is still there\n%s", r.Node)
	}
	for _, m := range r.Record.Members {
		l, ok := r.Link(scenario.PodPath, m.Original.Name)
		if !ok || l.PCI != m.PCI || l.MAC != m.Original.MAC || l.MTU != m.Original.MTU || l.Master != 0 {
			t.Fatalf("%s is given back as %+v, want %+v", m.Name, l, m.Original)
		}
	}
}

var _ reconcile.Kernel = (*linktest.Fake)(nil)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
