package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/pkg/store"
)

// walkLeases is an IPAM plugin that knows which bonds have an address.
type walkLeases struct {
	mu    sync.Mutex
	held  map[bond.Key]bool
	fails int
}

func (l *walkLeases) Uses(*bond.Record) bool { return true }

func (l *walkLeases) PluginPath(r *bond.Record) string { return r.CNI.Path }

func (l *walkLeases) Release(_ context.Context, r *bond.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fails > 0 {
		l.fails--
		return errors.New("injected: the IPAM plugin fails")
	}
	delete(l.held, r.Key)
	return nil
}

// walkBond is a bond of a walk.
type walkBond struct {
	*scenario.Node
	// model is the record that its ADD wrote.
	model *bond.Record
	// dead: its netns is gone. ending: a DEL was started. Both are finished at the next rest. released: it no longer
	// has a record.
	dead, ending, released bool
}

// walker is a node of the fake kernel with several pods and bonds, one engine over them, and a real store.
type walker struct {
	fake   *linktest.Fake
	dir    string
	store  *store.Store
	clock  *clock
	leases *walkLeases
	engine *reconcile.Engine
	// counted is by all agents of the walk.
	counted *counted
	// sandboxes and containers are by path.
	sandboxes  map[string]bond.Sandbox
	containers map[string]string
	bonds      [walkBonds]*walkBond
	lives      int
	// later are faults that come before a later action.
	later map[int]func()
	log   []string
}

func newWalker(dir string, c *counted) (*walker, error) {
	s, err := store.Open(dir)
	w := &walker{
		counted: c,
		fake:    scenario.NewNode(walkBonds), dir: dir, store: s, clock: &clock{now: time.Unix(1e9, 0)},
		leases: &walkLeases{held: map[bond.Key]bool{}}, sandboxes: map[string]bond.Sandbox{}, containers: map[string]string{}, later: map[int]func(){},
	}
	w.restart()
	w.fake.BeforeApply(func(plan.Action) {
		due := w.later
		w.later = map[int]func(){}
		for n, fault := range due {
			if n == 0 {
				fault()
				continue
			}
			w.later[n-1] = fault
		}
	})
	return w, err
}

// restart starts a new agent.
func (w *walker) restart() {
	w.engine = reconcile.New(reconcile.Config{
		Kernel: w.fake, Store: w.store, IPAM: w.leases, Now: w.clock.Now, Metrics: w.counted, SandboxAlive: func(s bond.Sandbox) (bool, error) {
			return s == w.sandboxes[s.Path], nil
		},
		Records: func(ctx context.Context) ([]*bond.Record, error) { list, _, err := w.store.List(ctx); return list, err },
	})
}

// fault causes a fault of a bond in an existing pod.
func (w *walker) fault(f scenario.Fault, number int) {
	if b := w.bonds[number]; b != nil && !b.dead {
		w.log = append(w.log, fmt.Sprintf("bond %d: %s", number, f.Name))
		f.Do(b.Node)
	}
}

// add is ADD of a bond, with VFs that are in the host. A failed one is rolled back.
func (w *walker) add(ctx context.Context, args []int) error {
	number, path := args[0], walkPods[args[0]]
	if w.bonds[number] != nil || !w.prepare(number) {
		return nil
	}
	if _, alive := w.sandboxes[path]; !alive {
		w.lives++
		w.sandboxes[path], w.containers[path] = w.fake.AddPod(path), fmt.Sprintf("c%d", w.lives)
	}
	options := walkOptions[args[1]].Clone()
	if options[bond.OptPrimary] != "" {
		options[bond.OptPrimary] = fmt.Sprintf("net%d", 2*number+1)
	}
	key := bond.Key{ContainerID: w.containers[path], IfName: fmt.Sprintf("bond%d", number)}
	if _, err := w.store.Load(key); !errors.Is(err, bond.ErrNotFound) {
		return err // the last ADD of this interface has not ended
	}
	b := &walkBond{Node: scenario.NewBond(w.fake, w.sandboxes[path], key, number, walkBonds, options)}
	b.Record.Phase, b.Record.Created = bond.PhaseAdding, w.clock.Now()
	w.clock.turn(time.Millisecond)
	b.model = b.Record.Clone()
	w.bonds[number] = b
	w.leases.held[key] = true
	w.log = append(w.log, fmt.Sprintf("ADD of %s: %s", key, options))
	if err := w.store.Save(b.Record); err != nil {
		return err
	}
	out, err := w.engine.Converge(ctx, key)
	if err != nil || out.Status.State == bond.StateStuck {
		w.log = append(w.log, fmt.Sprintf("it fails: %v", err))
		b.ending = true
		return nil
	}
	return endADD(ctx, w.engine, out)
}

// prepare does the operator's part, and reports whether the VFs of a bond are free.
func (w *walker) prepare(number int) bool {
	for _, card := range scenario.Cards {
		vfs := w.fake.VFs(card)
		if number >= len(vfs) {
			return false
		}
		if path, _, found := w.fake.Netdev(vfs[number]); !found || path != linktest.Host {
			return false
		}
		if _, up := w.fake.Link(linktest.Host, card); !up {
			return false
		}
		_ = w.fake.ResetVF(vfs[number], 0)
	}
	// A link of another bond may have a VF's name, and there is no ADD in a pod with impostors.
	for _, name := range []string{fmt.Sprintf("net%d", 2*number+1), fmt.Sprintf("net%d", 2*number+2), fmt.Sprintf("bond%d", number)} {
		if _, taken := w.fake.Link(walkPods[number], name); taken {
			return false
		}
	}
	return true
}

// del is DEL of a bond and then of its VFs.
func (w *walker) del(ctx context.Context, args []int) error {
	if w.bonds[args[0]] == nil {
		return nil
	}
	return w.end(ctx, args[0])
}

// end calls DEL until it succeeds, as a runtime does, and then sriov-cni's. A DEL that keeps failing is finished at the
// next rest.
func (w *walker) end(ctx context.Context, number int) error {
	b := w.bonds[number]
	b.ending = true
	var err error
	attempts := 0
	for ; attempts < 4; attempts++ {
		err = w.engine.Delete(ctx, b.Record.Key)
		if errors.Is(err, bond.ErrNotFound) { // the agent has released it, and the pod may have changed the VFs since
			b.released, err = true, nil
		}
		if err == nil {
			break
		}
	}
	w.log = append(w.log, fmt.Sprintf("DEL of %s: %v", b.Record.Key, err))
	if err != nil {
		return nil
	}
	const last = 2 // from the third attempt on, DEL succeeds even if a member cannot be returned as it was
	if !b.dead && !b.released && attempts < last {
		if err := w.checkReleased(b); err != nil {
			return err
		}
	}
	for i := range b.Record.Members {
		b.ReleaseByPlugin(i)
		b.Detach(&b.Record.Members[i])
	}
	w.bonds[number] = nil
	return nil
}

// checkReleased checks what a release leaves in an existing pod: no bond, and each VF in the pod as it was.
func (w *walker) checkReleased(b *walkBond) error {
	if l, found := w.fake.Link(b.Path(), b.Record.BondName()); found && l.Kind == "bond" {
		return fmt.Errorf("%s is there after its DEL", b.Record.Key)
	}
	for _, m := range b.model.Members {
		path, l, found := w.fake.Netdev(m.PCI)
		if other, is := w.fake.Link(path, "odd0"); is && l.Master == other.Index {
			continue // the pod has enslaved it to its own bond
		}
		if found && path == b.Path() && (l.Master != 0 || l.MAC != m.Original.MAC || l.MTU != m.Original.MTU) {
			return fmt.Errorf("%s: DEL gave %s back as %+v, want %+v", b.Record.Key, m.Name, l, m.Original)
		}
	}
	return nil
}

// delBegun is a DEL whose process was killed after its first system call.
func (w *walker) delBegun(_ context.Context, args []int) error {
	b := w.bonds[args[0]]
	if b == nil {
		return nil
	}
	b.ending = true
	rec, err := w.store.Load(b.Record.Key)
	if errors.Is(err, bond.ErrNotFound) {
		return nil // the previous DEL got this far
	}
	if err != nil {
		return err
	}
	return w.store.MarkDeleted(rec)
}

// agentRelease is the agent's completion of an abandoned DEL.
func (w *walker) agentRelease(ctx context.Context, args []int) error {
	b := w.bonds[args[0]]
	if b == nil || !b.ending {
		return nil
	}
	rec, err := w.store.Load(b.Record.Key)
	if err != nil || !rec.Deleted() {
		return nil
	}
	err = w.engine.ReleaseRecord(ctx, rec)
	w.log = append(w.log, fmt.Sprintf("the agent releases %s: %v", rec.Key, err))
	if err != nil || b.dead || rec.Releases > 0 {
		return nil
	}
	return w.checkReleased(b)
}

// killPod ends a pod's netns without a DEL.
func (w *walker) killPod(_ context.Context, args []int) error {
	path := walkPods[args[0]]
	if _, alive := w.sandboxes[path]; !alive {
		return nil
	}
	delete(w.sandboxes, path)
	for i, b := range w.bonds {
		if b != nil && walkPods[i] == path {
			b.dead = true
		}
	}
	w.log = append(w.log, "netns "+path+" is deleted")
	return w.fake.DeletePod(path)
}

func (w *walker) convergeOne(ctx context.Context, args []int) error {
	if b := w.bonds[args[0]]; b != nil {
		_, _ = w.engine.Converge(ctx, b.Record.Key)
	}
	return nil
}

// repairOne is what the controller calls while other bonds wait. The call that verifies it may come much later, or never:
// the agent can end before.
func (w *walker) repairOne(ctx context.Context, args []int) error {
	if b := w.bonds[args[0]]; b != nil {
		_, _ = w.engine.Repair(ctx, b.Record.Key, always)
	}
	return nil
}

// injectErrors makes a tenth of the next actions fail.
func (w *walker) injectErrors(_ context.Context, args []int) error {
	rng, left := rand.New(rand.NewPCG(uint64(args[0]), 3)), 60 //nolint:gosec // errors that can be repeated
	w.fake.FailApplyIf(func(plan.Action) error {
		if left--; left < 0 || rng.IntN(10) > 0 {
			return nil
		}
		return fmt.Errorf("injected: %w", []error{bond.ErrBusy, bond.ErrGone, bond.ErrStale, bond.ErrUnsupported, bond.ErrInvalid, unix.EPERM}[rng.IntN(6)])
	})
	return nil
}
