package controller

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"k8s.io/client-go/util/workqueue"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

// Engine is used by the Controller; *reconcile.Engine is one.
type Engine interface {
	Repair(ctx context.Context, k bond.Key, othersWait func() bool) (reconcile.Outcome, error)
	ReleaseRecord(context.Context, *bond.Record) error
	ConfirmLease(context.Context, bond.Key) error
	Changed(context.Context, *reconcile.Poll) (cause string)
}

// Config configures a Controller; Engine is required.
type Config struct {
	Engine Engine
	// Workers is how many bonds are reconciled in parallel. Default 8.
	Workers int
	// Grace is how long the plugin that wrote a tombstone has time before the controller finishes the release. Default
	// 30 s.
	Grace time.Duration
	// Timeout bounds one reconcile. Default 30 s.
	Timeout time.Duration
	// Report is called after every reconcile with the bond's status, and Forget when its record is gone. Both may be
	// nil, are called by several workers at once, and must not block.
	Report func(bond.Status)
	Forget func(bond.Key)
	// Resync is the mean period of requests with ResyncCause. Default 45 s.
	Resync time.Duration
	// ResyncCause is the cause of requests that only time has caused. FoundByResync is called with the code of each
	// finding that is new in a reconcile for which there was no other request: no event has reported it. It may be nil,
	// is called by several workers at once, and must not block.
	ResyncCause   string
	FoundByResync func(code string)
	// Log may be nil.
	Log *zap.Logger
}

// Controller reconciles bonds. Enqueue is safe for concurrent use, also before Run.
type Controller struct {
	c        Config
	queue    workqueue.TypedRateLimitingInterface[bond.Key]
	waiting  *repairsFirst // in queue
	holdback *holdback
	tasks    *backgroundTasks
	limiter  *eventLimiter
	poller   *poller
	rest     *rest

	requests *requests
	// started and finished count reconciles.
	started, finished atomic.Uint64
}

// The pauses after a reconcile that failed as a whole (the store, observing), per bond.
const (
	minRetry = 100 * time.Millisecond
	maxRetry = 30 * time.Second
	// lockedRetry is the pause while the bond's lock is held.
	lockedRetry = 250 * time.Millisecond
)

// New returns a Controller.
func New(c Config) *Controller {
	if c.Workers == 0 {
		c.Workers = 8
	}
	if c.Grace == 0 {
		c.Grace = 30 * time.Second
	}
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	if c.Resync == 0 {
		c.Resync = 45 * time.Second
	}
	if c.Report == nil {
		c.Report = func(bond.Status) {}
	}
	if c.FoundByResync == nil {
		c.FoundByResync = func(string) {}
	}
	if c.Forget == nil {
		c.Forget = func(bond.Key) {}
	}
	waiting := newRepairsFirst()
	queue := newQueue(waiting)
	return &Controller{
		c: c, queue: queue, waiting: waiting, holdback: newHoldback(queue.Add), tasks: newBackgroundTasks(c.Workers), limiter: newEventLimiter(),
		poller: newPoller(), rest: newRest(c.Resync), requests: newRequests(),
	}
}

func newQueue(order workqueue.Queue[bond.Key]) workqueue.TypedRateLimitingInterface[bond.Key] {
	limit := workqueue.NewTypedItemExponentialFailureRateLimiter[bond.Key](minRetry, maxRetry)
	inner := workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[bond.Key]{Queue: order})
	delaying := workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[bond.Key]{Queue: inner})
	return workqueue.NewTypedRateLimitingQueueWithConfig(limit, workqueue.TypedRateLimitingQueueConfig[bond.Key]{DelayingQueue: delaying})
}

// Enqueue requests a reconcile: at once, unless there were very many of that bond. Further requests before it are
// merged. A resync of a bond at rest is left out, except from time to time.
func (l *Controller) Enqueue(k bond.Key, cause string) {
	isResync := cause == l.c.ResyncCause
	if isResync && l.rest.skips(k, time.Now()) {
		return
	}
	l.request(k, cause, isResync)
}

// request is Enqueue without exceptions. onlyTime: no event has caused it.
func (l *Controller) request(k bond.Key, cause string, onlyTime bool) {
	if ce := l.c.Log.Check(zap.DebugLevel, "reconcile requested"); ce != nil {
		ce.Write(zap.String("bond", k.String()), zap.String("cause", cause))
	}
	l.requests.add(k, onlyTime, time.Now())
	if wait := l.limiter.wait(k, time.Now()); wait > 0 {
		l.queue.AddAfter(k, wait)
		return
	}
	l.queue.Add(k)
}

// Busy reports whether a reconcile is running or queued.
func (l *Controller) Busy() bool { return l.queue.Len() > 0 || l.finished.Load() != l.started.Load() }

// othersWait reports, during a reconcile, whether another bond waits for its own or is being reconciled: a verification
// would take the processor or the kernel's lock from it.
func (l *Controller) othersWait() bool {
	finished := l.finished.Load() // first, so that it is not more than started
	return l.queue.Len() > 0 || l.started.Load()-finished > 1
}

// Finished returns the number of reconciles that have ended, successfully or not.
func (l *Controller) Finished() uint64 { return l.finished.Load() }

// Run reconciles until ctx ends, then waits for running reconciles and background tasks.
func (l *Controller) Run(ctx context.Context) {
	defer l.tasks.start(ctx)()
	stop := context.AfterFunc(ctx, l.queue.ShutDown)
	defer stop()
	var workers sync.WaitGroup
	workers.Go(func() {
		l.poller.run(ctx, l.c.Engine.Changed, func(k bond.Key, cause string) {
			l.request(k, cause, cause == reconcile.CauseUnannounced)
		})
	})
	for range l.c.Workers {
		workers.Go(func() {
			for l.next(ctx) {
			}
		})
	}
	workers.Wait()
}

func (l *Controller) next(ctx context.Context) bool {
	k, shutdown := l.queue.Get()
	if shutdown {
		return false
	}
	verifies := l.waiting.verifies(k)
	if verifies && l.holdback.holds(k) {
		l.waiting.verifyLater(k)
		l.queue.Done(k)
		return true
	}
	l.started.Add(1)
	defer l.finished.Add(1) // when all that follows from it is queued: Busy
	defer l.queue.Done(k)
	defer l.holdback.begin(k, verifies)()
	ctx, cancel := context.WithTimeout(ctx, l.c.Timeout)
	defer cancel()
	l.limiter.count(k, time.Now())
	l.reconcile(ctx, k)
	return true
}

func (l *Controller) reconcile(ctx context.Context, k bond.Key) {
	onlyResync := l.requests.take(k)
	out, err := l.c.Engine.Repair(ctx, k, l.othersWait)
	if onlyResync && !l.requests.otherBy(k, out.FoundAt) {
		for _, code := range out.Found {
			l.c.FoundByResync(string(code))
		}
	}
	if errors.Is(err, bond.ErrLocked) {
		// The plugin has the lock. The worker is free for others meanwhile.
		l.queue.Forget(k)
		l.queue.AddAfter(k, lockedRetry)
		return
	}
	l.poller.set(k, out.Poll)
	l.rest.reconciled(k, err == nil && atRest(&out), onlyResync, time.Now())
	switch {
	case out.Unverified:
		l.queue.Forget(k)
		l.waiting.verifyLater(k)
		l.queue.Add(k)
		return
	case out.Record == nil && err == nil:
		l.c.Forget(k)
		l.queue.Forget(k)
		l.limiter.forget(k)
		l.tasks.setFailing(k, false)
		return
	case out.Record != nil && out.Record.Deleted():
		l.finishRelease(k, &out) //nolint:contextcheck // the task outlives this reconcile
		return
	case out.Status.State != "":
		l.c.Report(out.Status)
	}
	if out.LeaseDue {
		l.confirm(k) //nolint:contextcheck // the task outlives this reconcile
	}
	if out.RetryAfter > 0 {
		// The engine determines the pause.
		l.queue.Forget(k)
		l.queue.AddAfter(k, out.RetryAfter)
		return
	}
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			l.c.Log.Error("reconcile failed", zap.String("bond", k.String()), reconcile.Losses(out.Losses()...), zap.Error(err))
		}
		l.queue.AddRateLimited(k)
		return
	}
	l.queue.Forget(k)
}
