package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// maxRounds bounds the rounds of observing and acting in one call. The planner needs at most six from any state; more means
// that another writer changes the bond at the same time.
const maxRounds = 16

// Config configures an Engine. Kernel and Store are required.
type Config struct {
	Kernel Kernel
	Store  Store
	// IPAM is needed by Release only.
	IPAM IPAM
	// Records lists all readable records, to find other bonds with the same VF; nil if that is not checked.
	Records func(context.Context) ([]*bond.Record, error)
	// SandboxAlive reports whether a sandbox still exists; nil counts each as alive.
	SandboxAlive func(bond.Sandbox) (bool, error)
	// Stopping reports whether the container runtime is stopping a sandbox, from earlier events.
	// It must not block. May be nil.
	Stopping func(containerID string) bool
	// Log may be nil.
	Log *zap.Logger
	// Now may be nil: time.Now.
	Now func() time.Time
	// Timing holds the times; the zero value means the defaults.
	Timing Timing
	// LockWait is how long Converge waits for the bond's lock, which the other side may hold for as long as a driver
	// takes; the error then matches bond.ErrLocked. Zero: as long as the store waits.
	LockWait time.Duration
	// Setup may be nil: then the end of a pod's set-up is found by time alone.
	Setup SetupEvidence
}

// Engine reconciles bonds. It is safe for concurrent use; the store's lock serialises work on one bond, across processes.
type Engine struct {
	records      func(context.Context) ([]*bond.Record, error)
	sandboxAlive func(bond.Sandbox) (bool, error)
	stopping     func(containerID string) bool

	kernel Kernel
	store  Store
	ipam   IPAM
	log    *zap.Logger
	now    func() time.Time
	states *repairStates
	setup  SetupEvidence

	lockWait time.Duration
}

// New returns an Engine.
func New(c Config) *Engine {
	e := &Engine{
		kernel: c.Kernel, store: c.Store, ipam: c.IPAM, log: c.Log, now: c.Now,
		records: c.Records, sandboxAlive: c.SandboxAlive, stopping: c.Stopping, setup: c.Setup,
		lockWait: c.LockWait,
	}
	if e.log == nil {
		e.log = zap.NewNop()
	}
	if e.now == nil {
		e.now = time.Now
	}
	e.states = newRepairStates(c.Timing.withDefaults())
	return e
}

// Outcome is the result of a call.
type Outcome struct {
	// Record is as last saved; nil if there is none.
	Record   *bond.Record
	Observed bond.Observed
	Plan     plan.Plan
	Status   bond.Status
	// Applied are the changes made in the kernel by this call, in order.
	Applied []plan.Action
	// LeaseDue: ConfirmLease is to be called now.
	LeaseDue bool
	// RetryAfter is when to reconcile again without an event; 0 means never.
	RetryAfter time.Duration
}

// Unattached returns the indices of the recorded members that are not in the bond.
func (o *Outcome) Unattached() []int {
	var out []int
	for i := range o.Observed.Members {
		if !enslaved(&o.Observed, i) {
			out = append(out, i)
		}
	}
	return out
}

// Converge brings the bond into its recorded state, or removes it if the record is a tombstone, as far as possible now. The
// error is the first one of the store, of observing, or of an action. After a failed action the other actions were tried too,
// and Outcome is valid. An action that succeeded in a later round is no error. Without a record Outcome.Record is nil.
func (e *Engine) Converge(ctx context.Context, k bond.Key) (Outcome, error) {
	unlock, err := e.lock(ctx, k)
	if err != nil {
		return Outcome{}, err
	}
	defer unlock()
	rec, err := e.store.Load(k)
	if errors.Is(err, bond.ErrNotFound) {
		e.states.forget(k)
		return Outcome{}, nil
	}
	if err != nil {
		return Outcome{}, err
	}
	return e.converge(ctx, rec, false)
}

func (e *Engine) lock(ctx context.Context, k bond.Key) (unlock func(), err error) {
	if e.lockWait == 0 {
		return e.store.Lock(ctx, k)
	}
	limited, cancel := context.WithTimeout(ctx, e.lockWait)
	defer cancel()
	unlock, err = e.store.Lock(limited, k)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil && !errors.Is(err, bond.ErrLocked) {
		err = fmt.Errorf("%w: %w", bond.ErrLocked, err) // on a busy machine the time can be over before the first attempt
	}
	return unlock, err
}

// Update changes a record under the bond's lock. The error is bond.ErrNotFound if there is none. An error of change is
// returned, and nothing is saved.
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

// Inspect returns a bond's state and what Converge would do. It takes no lock and changes nothing.
func (e *Engine) Inspect(ctx context.Context, k bond.Key) (Outcome, error) {
	rec, err := e.store.Load(k)
	if err != nil {
		return Outcome{}, err
	}
	obs, err := e.observe(ctx, rec)
	if err != nil {
		return Outcome{Record: rec}, err
	}
	e.assess(rec, &obs, "", e.now()) // in this copy only
	p := plan.Diff(e.input(rec, &obs, e.states.of(k), e.now(), false))
	return Outcome{Record: rec, Observed: obs, Plan: p, Status: statusOf(rec, &obs, p, nil)}, nil
}

// input collects the planner's input.
func (e *Engine) input(rec *bond.Record, obs *bond.Observed, state *bondRepairState, now time.Time, firstDEL bool) plan.Input {
	return plan.Input{
		Record: rec, Observed: *obs, Hints: state.hints(rec, obs, now), FirstDEL: firstDEL,
		Stopping: e.stopping != nil && e.stopping(rec.Key.ContainerID),
	}
}

// converge works under the bond's lock. firstDEL is plan.Input's.
func (e *Engine) converge(ctx context.Context, rec *bond.Record, firstDEL bool) (Outcome, error) {
	state := e.states.of(rec.Key)
	out := Outcome{Record: rec}
	var firstErr error
	var applied []plan.Action // in the last round
	repair := newRepairRun(rec)
	for range maxRounds {
		obs, p, err := e.observeAndPlan(ctx, rec, state, firstDEL)
		if errors.Is(err, errDeleted) {
			e.yieldToDelete(&out, state)
			return out, firstErr
		}
		if err != nil {
			return out, errors.Join(firstErr, err)
		}
		now := e.now()
		if err = e.confirm(rec, applied, &p, state); firstErr == nil {
			firstErr = err
		}
		ready := state.ready(repair, p.Actions, now)
		e.logFights(rec, state, repair, p.Actions, now)
		unsaved := e.noteFights(rec, state)
		out.Observed, out.Plan = obs, p
		out.Status = statusOf(rec, &obs, p, state)
		out.RetryAfter = sooner(sooner(state.retryAfter(repair, p, now), setupRetry(rec, now)), unreadRetry(&obs))
		out.lease(rec, &obs, now)
		if len(p.Actions) == 0 { // what failed first was done in a later round
			return out, unsaved
		}
		firstErr = cmp.Or(firstErr, unsaved)
		if len(ready) == 0 {
			return out, firstErr
		}
		applied, err = e.apply(ctx, rec, ready, state, repair)
		out.Applied = append(out.Applied, applied...)
		if errors.Is(err, errDeleted) {
			e.yieldToDelete(&out, state)
			return out, firstErr
		}
		if firstErr == nil {
			firstErr = err
		}
		if ctx.Err() != nil {
			return out, errors.Join(firstErr, ctx.Err())
		}
	}
	out.RetryAfter = state.timing.MinBackoff
	return out, errors.Join(firstErr, fmt.Errorf("bond %s of pod %s: not settled after %d rounds; does something else change it? last plan: %v", rec.BondName(), rec.Pod, maxRounds, out.Plan.Actions))
}

// observeAndPlan observes the bond, updates and saves the record, and plans.
func (e *Engine) observeAndPlan(ctx context.Context, rec *bond.Record, state *bondRepairState, firstDEL bool) (bond.Observed, plan.Plan, error) {
	evidence := e.setupEvidence(rec, e.now())
	obs, err := e.observe(ctx, rec)
	if err != nil {
		return obs, plan.Plan{}, fmt.Errorf("observe bond %s of pod %s: %w", rec.BondName(), rec.Pod, err)
	}
	now := e.now()
	changed := e.assess(rec, &obs, evidence, now)
	in := e.input(rec, &obs, state, now, firstDEL)
	p := plan.Diff(in)
	if e.adoptContested(rec, &obs, p.Actions, state, now) {
		changed = true
		p = plan.Diff(in)
	}
	if markLease(rec, p) {
		changed = true
		p = plan.Diff(in)
	}
	return obs, p, e.recordHistory(rec, &obs, p, state, changed)
}

// unreadRetry returns when to read addresses and routes that were not read: there is no event for it.
func unreadRetry(obs *bond.Observed) time.Duration {
	if obs.Bond == nil || obs.Bond.Unread == "" {
		return 0
	}
	return time.Second
}

// sooner returns the shorter wait; 0 means never.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// apply makes the changes in order. After a failure the changes that depend on it wait for another round.
func (e *Engine) apply(ctx context.Context, rec *bond.Record, actions []plan.Action, state *bondRepairState, repair *repairRun) ([]plan.Action, error) {
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
			state.applied(a, rec.Restoring, e.now())
			state.charge(repair, a, e.now())
			log.Log(state.actionLevel(a.Subject()), "applied", zap.Stringer("action", a))
			continue
		}
		left = append(left, a)
		stale := errors.Is(err, bond.ErrStale) || errors.Is(err, bond.ErrGone)
		if stale && !state.staleAgain(a, e.now()) {
			// Something changed between the observation and the action. The next observation shows it.
			log.Info("plan is stale", zap.Stringer("action", a), zap.Error(err))
			continue
		}
		if _, bestEffort := a.(plan.Announce); bestEffort {
			log.Warn("cannot announce addresses to neighbours", zap.Error(err))
			continue
		}
		wait := state.failed(a, err, e.now())
		log.Log(state.failureLevel(a, err), "action failed", zap.Stringer("action", a), zap.Error(err), zap.Duration("retryAfter", wait))
		if firstErr == nil && !stale {
			firstErr = fmt.Errorf("bond %s of pod %s: %w", rec.BondName(), rec.Pod, err)
		}
	}
	return done, firstErr
}

// confirm checks that actions that were reported as done had an effect. A repeated failure is logged once.
func (e *Engine) confirm(rec *bond.Record, done []plan.Action, p *plan.Plan, state *bondRepairState) error {
	failed := state.confirm(done, p, e.now())
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

// logFor adds the fields that every log line about a bond has.
func (e *Engine) logFor(rec *bond.Record) *zap.Logger {
	return e.log.With(zap.String("bond", rec.Key.String()), zap.String("pod", rec.Pod.String()), zap.String("netns", rec.Sandbox.Path))
}

func enslaved(obs *bond.Observed, i int) bool {
	m := &obs.Members[i]
	return m.Location == bond.InPod && obs.Bond != nil && m.Link.Master == obs.Bond.Index
}
