package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile/history"
)

// Timing has the waits of an Engine. Zero fields mean the defaults.
type Timing struct {
	history.Timing
	// SetupQuiet and SetupTimeout end a pod's set-up where nothing else shows its end: after so long without a change
	// by another writer, and so long after ADD returned. Default 10 s and 60 s.
	SetupQuiet, SetupTimeout time.Duration
	// PollVFs is the interval at which is checked what no event reports of VFs. Default 45 s.
	PollVFs time.Duration
}

func (t Timing) withDefaults() Timing {
	t.Timing = t.Timing.WithDefaults()
	if t.SetupQuiet == 0 {
		t.SetupQuiet = 10 * time.Second
	}
	if t.SetupTimeout == 0 {
		t.SetupTimeout = time.Minute
	}
	if t.PollVFs == 0 {
		t.PollVFs = 45 * time.Second
	}
	return t
}

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
	// Downs returns how many events have shown a bond administratively down. It must not block. May be nil: then a bond
	// that is set down and up faster than it is observed is not noticed.
	Downs func(bond.Key) uint64
	// EventsMissed returns how often events may have been lost, so that Downs does not count them. It must not block. May
	// be nil.
	EventsMissed func() uint64
	// EventsDrained waits until Downs counts all events that the kernel had sent before the call, or until ctx ends. May
	// be nil.
	EventsDrained func(ctx context.Context)
	// Log may be nil.
	Log *zap.Logger
	// Now may be nil: time.Now.
	Now func() time.Time
	// Timing holds the times; the zero value means the defaults.
	Timing Timing
	// LockWait is how long Converge waits for the bond's lock, which the other side may hold for as long as a driver
	// takes; the error then matches bond.ErrLocked. Zero: as long as the store waits.
	LockWait time.Duration
	// Metrics may be nil.
	Metrics Metrics
	// Setup may be nil: then the end of a pod's set-up is found by time alone.
	Setup SetupEvidence
}

// Engine reconciles bonds. It is safe for concurrent use; the store's lock serialises work on one bond, across
// processes.
type Engine struct {
	records      func(context.Context) ([]*bond.Record, error)
	sandboxAlive func(bond.Sandbox) (bool, error)
	stopping     func(containerID string) bool
	// downs is nil if no events are received. The others are those of Config.
	downs         func(bond.Key) uint64
	eventsMissed  func() uint64
	eventsDrained func(context.Context)

	kernel Kernel
	store  Store
	ipam   IPAM
	log    *zap.Logger
	now    func() time.Time
	setup  SetupEvidence
	timing Timing

	metrics Metrics
	// histories has what the records do not, so it does not survive the process.
	histories *history.Set

	lockWait time.Duration
}

// New returns an Engine.
func New(c Config) *Engine {
	e := &Engine{
		kernel: c.Kernel, store: c.Store, ipam: c.IPAM, log: c.Log, now: c.Now,
		records: c.Records, sandboxAlive: c.SandboxAlive, stopping: c.Stopping, downs: c.Downs, eventsMissed: c.EventsMissed, eventsDrained: c.EventsDrained, setup: c.Setup,
		lockWait: c.LockWait, metrics: c.Metrics,
	}
	if e.metrics == nil {
		e.metrics = noMetrics{}
	}
	if e.log == nil {
		e.log = zap.NewNop()
	}
	if e.now == nil {
		e.now = time.Now
	}
	if e.eventsMissed == nil {
		e.eventsMissed = func() uint64 { return 0 }
	}
	if e.eventsDrained == nil {
		e.eventsDrained = func(context.Context) {}
	}
	e.timing = c.Timing.withDefaults()
	e.histories = history.New(e.timing.Timing)
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
	// Found has the codes of findings that the last reconcile of the bond did not have, as observed at FoundAt.
	Found   []plan.Code
	FoundAt time.Time
	// Unverified: all planned changes were made, and whether they had an effect is still to be observed. Status is that
	// before the changes. Only Repair returns it.
	Unverified bool
	// LeaseDue: ConfirmLease is to be called now.
	LeaseDue bool
	// Poll is what to check of the bond until its next reconcile; nil if the kernel reports all changes.
	Poll *Poll
	// RetryAfter is when to reconcile again without an event; 0 means never.
	RetryAfter time.Duration
}

// Unattached returns the indices of the recorded members that are not in the bond.
func (o *Outcome) Unattached() []int {
	var out []int
	for i := range o.Observed.Members {
		if !o.Observed.Enslaved(i) {
			out = append(out, i)
		}
	}
	return out
}

// Losses returns the IDs of the losses that the call was about.
func (o *Outcome) Losses() []string {
	if o.Status.State == "" && o.Record != nil { // it could not be observed
		return o.Record.LossIDs()
	}
	return o.Status.Losses
}

// Converge brings the bond into its recorded state, or removes it if the record is a tombstone, as far as possible now.
// The error is the first one of the store, of observing, or of an action. After a failed action the other actions were
// tried too, and Outcome is valid. An action that succeeded in a later round is not an error. Without a record
// Outcome.Record is nil.
func (e *Engine) Converge(ctx context.Context, k bond.Key) (Outcome, error) {
	return e.reconcile(ctx, k, convergence{})
}

// Repair is Converge, but gives way to the repairs of other bonds: once all planned changes were made and a member is in
// the bond again, it returns if othersWait (Outcome.Unverified). The next call of Repair or Converge verifies the repair;
// the caller makes it after the others' repairs.
func (e *Engine) Repair(ctx context.Context, k bond.Key, othersWait func() bool) (Outcome, error) {
	return e.reconcile(ctx, k, convergence{othersWait: othersWait})
}

func (e *Engine) reconcile(ctx context.Context, k bond.Key, c convergence) (Outcome, error) {
	unlock, err := e.lock(ctx, k)
	if err != nil {
		return Outcome{}, err
	}
	defer unlock()
	rec, err := e.store.Load(k)
	if errors.Is(err, bond.ErrNotFound) {
		e.forget(k)
		return Outcome{}, nil
	}
	if err != nil {
		return Outcome{}, err
	}
	if e.releasesLease(rec) {
		return e.Inspect(ctx, k)
	}
	return e.converge(ctx, e.histories.Of(k).Latest(rec), c)
}

// releasesLease reports whether a DEL, or the release by the agent that follows if it was killed, is still to have a
// DHCP daemon release a lease. The daemon sends that through the bond, which is taken down afterwards.
func (e *Engine) releasesLease(tombstone *bond.Record) bool {
	c := &tombstone.CNI
	return tombstone.Deleted() && e.ipam != nil && !c.IPAMDone && c.IPAMAttempts == 0 && tombstone.Leased()
}

// Start writes the record of an ADD and then does what Converge does, under one lock and from one observation. check
// rejects what is observed before anything is written. With an error and Outcome.Record nil nothing was written; the
// error matches bond.ErrExists if there is a record.
func (e *Engine) Start(ctx context.Context, rec *bond.Record, check func(*bond.Observed) error) (Outcome, error) {
	unlock, err := e.lock(ctx, rec.Key)
	if err != nil {
		return Outcome{}, err
	}
	defer unlock()
	switch _, err = e.store.Load(rec.Key); {
	case err == nil:
		return Outcome{}, fmt.Errorf("bond %s: %w", rec.Key, bond.ErrExists)
	case !errors.Is(err, bond.ErrNotFound):
		return Outcome{}, err
	}
	obs, err := e.observe(ctx, rec)
	if err != nil {
		return Outcome{}, fmt.Errorf("observe the pod of bond %s: %w", rec.Key, err)
	}
	if err = check(&obs); err != nil {
		return Outcome{}, err
	}
	if err = e.store.Save(rec); err != nil {
		return Outcome{}, err
	}
	return e.converge(ctx, rec.Clone(), convergence{observed: &obs})
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
	for n := 1; n < maxRounds && err == nil && obs.Bond != nil && obs.Bond.ReadLater; n++ { // nothing is repaired first
		obs, err = e.observe(ctx, rec)
	}
	if err != nil {
		return Outcome{Record: rec}, err
	}
	e.assess(rec, &obs, "", e.now()) // in this copy only
	p := plan.Diff(e.input(rec, &obs, e.histories.Of(k).Hints(rec, &obs, e.now()), false))
	return Outcome{Record: rec, Observed: obs, Plan: p, Status: statusOf(rec, &obs, p, nil)}, nil
}

// input collects the planner's input.
func (e *Engine) input(rec *bond.Record, obs *bond.Observed, hints []plan.Hint, firstDEL bool) plan.Input {
	return plan.Input{
		Record: rec, Observed: *obs, Hints: hints, FirstDEL: firstDEL,
		Stopping: e.stopping != nil && e.stopping(rec.Key.ContainerID),
	}
}
