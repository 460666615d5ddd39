package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile/plan"
)

// maxRounds bounds how often one call observes and acts. The planner needs at most six
// rounds from any state; more means that somebody else changes the bond at the same time.
const maxRounds = 16

// Config is what an Engine is made of. Kernel and Store are required.
type Config struct {
	Kernel Kernel
	Store  Store
	// IPAM is needed by Release only.
	IPAM IPAM
	// Records lists all readable records, to see which other bond names a VF; nil if that is not looked at.
	Records func(context.Context) ([]*bond.Record, error)
	// SandboxAlive reports whether a sandbox still exists; nil counts each as alive.
	SandboxAlive func(bond.Sandbox) (bool, error)
	// Stopping reports whether the container runtime is stopping a sandbox, from what is known without asking it.
	// It must not block. May be nil.
	Stopping func(containerID string) bool
	// Log may be nil.
	Log *zap.Logger
	// Now may be nil: time.Now.
	Now func() time.Time
	// Patience holds the times; the zero value means the defaults.
	Patience Patience
	// LockPatience is how long Converge waits for the bond's lock, which the other side may hold for as long as a driver
	// takes; the error then matches bond.ErrLocked. Zero: as long as the store waits.
	LockPatience time.Duration
	// Setup may be nil: then the end of a pod's set-up is found by time alone.
	Setup SetupEvidence
}

// Engine makes recorded bonds real. It is safe for concurrent use; work on one bond is
// serialised by the store's lock, across processes.
type Engine struct {
	records      func(context.Context) ([]*bond.Record, error)
	sandboxAlive func(bond.Sandbox) (bool, error)
	stopping     func(containerID string) bool

	kernel   Kernel
	store    Store
	ipam     IPAM
	log      *zap.Logger
	now      func() time.Time
	memories *memories
	setup    SetupEvidence

	lockPatience time.Duration
}

// New makes an Engine.
func New(c Config) *Engine {
	e := &Engine{
		kernel: c.Kernel, store: c.Store, ipam: c.IPAM, log: c.Log, now: c.Now,
		records: c.Records, sandboxAlive: c.SandboxAlive, stopping: c.Stopping, setup: c.Setup,
		lockPatience: c.LockPatience,
	}
	if e.log == nil {
		e.log = zap.NewNop()
	}
	if e.now == nil {
		e.now = time.Now
	}
	e.memories = newMemories(c.Patience.withDefaults())
	return e
}

// Outcome is how a bond stands after a call.
type Outcome struct {
	// Record is as last saved; nil when there is none.
	Record   *bond.Record
	Observed bond.Observed
	Plan     plan.Plan
	Status   bond.Status
	// Applied are the changes made in the kernel by this call, in order.
	Applied []plan.Action
	// LeaseDue: ConfirmLease is to be called now.
	LeaseDue bool
	// RetryAfter says when to look again though no event has come; 0 means never.
	RetryAfter time.Duration
}

// Unattached are the indices of the recorded members that are not in the bond.
func (o *Outcome) Unattached() []int {
	var missing []int
	for i := range o.Observed.Members {
		if !enslaved(&o.Observed, i) {
			missing = append(missing, i)
		}
	}
	return missing
}

// Converge makes the bond as recorded, or absent when the record is a tombstone, as
// far as that can be done now. The error is the first one met: of the store, of
// observing, or of an action that failed (all others were tried all the same; Outcome is
// valid then). An action that failed at first and was done later is no error, and neither is a record that
// does not exist: Outcome.Record is nil.
func (e *Engine) Converge(ctx context.Context, k bond.Key) (Outcome, error) {
	unlock, err := e.lock(ctx, k)
	if err != nil {
		return Outcome{}, err
	}
	defer unlock()
	rec, err := e.store.Load(k)
	if errors.Is(err, bond.ErrNotFound) {
		e.memories.forget(k)
		return Outcome{}, nil
	}
	if err != nil {
		return Outcome{}, err
	}
	return e.converge(ctx, rec, false)
}

func (e *Engine) lock(ctx context.Context, k bond.Key) (unlock func(), err error) {
	if e.lockPatience == 0 {
		return e.store.Lock(ctx, k)
	}
	patient, cancel := context.WithTimeout(ctx, e.lockPatience)
	defer cancel()
	unlock, err = e.store.Lock(patient, k)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil && !errors.Is(err, bond.ErrLocked) {
		err = fmt.Errorf("%w: %w", bond.ErrLocked, err) // on a busy machine the time can be over before the first attempt
	}
	return unlock, err
}

// Update changes a record under the bond's lock. The error is bond.ErrNotFound where there
// is none; an error of change is returned as it is and nothing is saved.
func (e *Engine) Update(ctx context.Context, k bond.Key, change func(*bond.Record) error) error {
	unlock, err := e.store.Lock(ctx, k)
	if err != nil {
		return err
	}
	defer unlock()
	rec, err := e.store.Load(k)
	if err != nil {
		return err
	}
	if err := change(rec); err != nil {
		return err
	}
	return e.store.Save(rec)
}

// Inspect says how a bond stands and what Converge would do, without a lock and without
// changing anything.
func (e *Engine) Inspect(ctx context.Context, k bond.Key) (Outcome, error) {
	rec, err := e.store.Load(k)
	if err != nil {
		return Outcome{}, err
	}
	obs, err := e.observe(ctx, rec)
	if err != nil {
		return Outcome{Record: rec}, err
	}
	e.assess(rec, &obs, "", e.now()) // in this copy only: what is learned later is no difference now
	p := plan.Diff(e.input(rec, &obs, e.memories.of(k), e.now(), false))
	return Outcome{Record: rec, Observed: obs, Plan: p, Status: statusOf(rec, &obs, p, nil)}, nil
}

// input is what a plan depends on.
func (e *Engine) input(rec *bond.Record, obs *bond.Observed, mem *bondMemory, now time.Time, firstDEL bool) plan.Input {
	return plan.Input{
		Record: rec, Observed: *obs, Hints: mem.hints(rec, obs, now), FirstDEL: firstDEL,
		Stopping: e.stopping != nil && e.stopping(rec.Key.ContainerID),
	}
}

// converge works under the bond's lock. firstDEL is plan.Input's.
func (e *Engine) converge(ctx context.Context, rec *bond.Record, firstDEL bool) (Outcome, error) {
	mem := e.memories.of(rec.Key)
	out := Outcome{Record: rec}
	var firstErr error
	var applied []plan.Action // in the last round
	repair := newRepairing(rec)
	for range maxRounds {
		obs, p, err := e.observeAndPlan(ctx, rec, mem, firstDEL)
		if errors.Is(err, errDeleted) {
			e.leaveToDEL(&out, mem)
			return out, firstErr
		}
		if err != nil {
			return out, errors.Join(firstErr, err)
		}
		now := e.now()
		if err = e.confirm(rec, applied, &p, mem); firstErr == nil {
			firstErr = err
		}
		due := mem.due(repair, p.Actions, now)
		e.logFights(rec, mem, repair, p.Actions, now)
		unsaved := e.noteFights(rec, mem)
		out.Observed, out.Plan = obs, p
		out.Status = statusOf(rec, &obs, p, mem)
		out.RetryAfter = sooner(sooner(mem.retryAfter(repair, p, now), setupRetry(rec, now)), unreadRetry(&obs))
		out.lease(rec, &obs, now)
		if len(p.Actions) == 0 { // what failed at first was done in a later round
			return out, unsaved
		}
		firstErr = cmp.Or(firstErr, unsaved)
		if len(due) == 0 {
			return out, firstErr
		}
		applied, err = e.apply(ctx, rec, due, mem, repair)
		out.Applied = append(out.Applied, applied...)
		if errors.Is(err, errDeleted) {
			e.leaveToDEL(&out, mem)
			return out, firstErr
		}
		if firstErr == nil {
			firstErr = err
		}
		if ctx.Err() != nil {
			return out, errors.Join(firstErr, ctx.Err())
		}
	}
	out.RetryAfter = mem.patience.FirstRetry
	return out, errors.Join(firstErr, fmt.Errorf("bond %s of pod %s: not settled after %d rounds; does something else change it? last plan: %v", rec.BondName(), rec.Pod, maxRounds, out.Plan.Actions))
}

// observeAndPlan observes the bond, brings the record up to date with what was found, saves it, and plans.
func (e *Engine) observeAndPlan(ctx context.Context, rec *bond.Record, mem *bondMemory, firstDEL bool) (bond.Observed, plan.Plan, error) {
	evidence := e.setupEvidence(rec, e.now())
	obs, err := e.observe(ctx, rec)
	if err != nil {
		return obs, plan.Plan{}, fmt.Errorf("observe bond %s of pod %s: %w", rec.BondName(), rec.Pod, err)
	}
	now := e.now()
	changed := e.assess(rec, &obs, evidence, now)
	in := e.input(rec, &obs, mem, now, firstDEL)
	p := plan.Diff(in)
	if e.adoptContested(rec, &obs, p.Actions, mem, now) {
		changed = true
		p = plan.Diff(in)
	}
	if markLease(rec, p) {
		changed = true
		p = plan.Diff(in)
	}
	return obs, p, e.book(rec, &obs, p, mem, changed)
}

// unreadRetry is when addresses and routes that were left unread are to be read: no event announces that they can be.
func unreadRetry(obs *bond.Observed) time.Duration {
	if obs.Bond == nil || obs.Bond.Unread == "" {
		return 0
	}
	return time.Second
}

// sooner is the earlier of two waits, of which 0 means never.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// apply makes the changes in order. When one fails, those that depend on it are left for another round; the others go on.
func (e *Engine) apply(ctx context.Context, rec *bond.Record, actions []plan.Action, mem *bondMemory, repair *repairing) ([]plan.Action, error) {
	var done, left []plan.Action
	var firstErr error
	log := e.logFor(rec)
	for _, a := range actions {
		if ctx.Err() != nil || plan.Blocked(a, left) || plan.Pointless(a, done) {
			left = append(left, a)
			continue
		}
		if e.deletedMeanwhile(rec) {
			return done, errDeleted
		}
		err := e.applyOne(ctx, rec, a)
		if err == nil {
			done = append(done, a)
			mem.applied(a, rec.Restoring, e.now())
			mem.charge(repair, a, e.now())
			log.Log(mem.actionLevel(a.On()), "applied", zap.Stringer("action", a))
			continue
		}
		left = append(left, a)
		stale := errors.Is(err, bond.ErrStale) || errors.Is(err, bond.ErrGone)
		if stale && !mem.overtaken(a, e.now()) {
			// Something changed between the observation and the action. The next observation shows it.
			log.Info("plan is stale", zap.Stringer("action", a), zap.Error(err))
			continue
		}
		if _, courtesy := a.(plan.Announce); courtesy {
			log.Warn("neighbours not told", zap.Error(err))
			continue
		}
		wait := mem.failed(a, err, e.now())
		log.Log(mem.failureLevel(a, err), "action failed", zap.Stringer("action", a), zap.Error(err), zap.Duration("retryAfter", wait))
		if firstErr == nil && !stale {
			firstErr = fmt.Errorf("bond %s of pod %s: %w", rec.BondName(), rec.Pod, err)
		}
	}
	return done, firstErr
}

// confirm checks that what was reported as done is done. A failure is logged once for as long as it repeats itself.
func (e *Engine) confirm(rec *bond.Record, done []plan.Action, p *plan.Plan, mem *bondMemory) error {
	failed := mem.confirm(done, p, e.now())
	for _, f := range failed {
		level := zap.DebugLevel
		if f.first {
			level = zap.WarnLevel
		}
		e.logFor(rec).Log(level, "action had no effect", zap.Stringer("action", f.action), zap.String("found", f.found), zap.Duration("retryAfter", f.wait))
	}
	if len(failed) == 0 {
		return nil
	}
	return fmt.Errorf("bond %s of pod %s: %w", rec.BondName(), rec.Pod, failed[0])
}

// logFor sets the fields that every line about a bond has.
func (e *Engine) logFor(rec *bond.Record) *zap.Logger {
	return e.log.With(zap.String("bond", rec.Key.String()), zap.String("pod", rec.Pod.String()), zap.String("netns", rec.Sandbox.Path))
}

func enslaved(obs *bond.Observed, i int) bool {
	m := &obs.Members[i]
	return m.Place == bond.InPod && obs.Bond != nil && m.Link.Master == obs.Bond.Index
}
