// Package loop is the agent's side of reconcile: keys come in, from whatever saw an
// event, and each bond is converged by one of a few workers. It decides when to look,
// never what to do. It stands apart from package reconcile so that the CNI plugin, which
// uses the engine once, does not carry the work queue.
package loop

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

// Engine is what the loop drives; *reconcile.Engine is one.
type Engine interface {
	Converge(context.Context, bond.Key) (reconcile.Outcome, error)
	ReleaseRecord(context.Context, *bond.Record) error
	ConfirmLease(context.Context, bond.Key) error
}

// Config is what a Loop is made of; Engine is required.
type Config struct {
	Engine Engine
	// Workers is how many bonds are converged at once. Default 8.
	Workers int
	// Grace is how long a tombstone is left to the plugin that wrote it before the loop
	// finishes the release itself. Default 30 s.
	Grace time.Duration
	// Timeout bounds one look at one bond. Default 30 s.
	Timeout time.Duration
	// Report is called after every look with how the bond stands, and Forget when its record has
	// gone. Both may be nil, are called by several workers at once, and must not block.
	Report func(bond.Status)
	Forget func(bond.Key)
	// Log may be nil.
	Log *zap.Logger
}

// Loop converges bonds. Enqueue may be called before Run and by anyone.
type Loop struct {
	c       Config
	queue   workqueue.TypedRateLimitingInterface[bond.Key]
	errands *errands
	pace    *pace
	// begun and done count looks.
	begun, done atomic.Uint64
}

// The waits after a look that failed as a whole (the store, observing), per bond.
const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 30 * time.Second
	// lockedRetry is the wait for a bond's lock.
	lockedRetry = 250 * time.Millisecond
)

// New makes a Loop.
func New(c Config) *Loop {
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
	if c.Report == nil {
		c.Report = func(bond.Status) {}
	}
	if c.Forget == nil {
		c.Forget = func(bond.Key) {}
	}
	limit := workqueue.NewTypedItemExponentialFailureRateLimiter[bond.Key](firstRetry, lastRetry)
	return &Loop{c: c, queue: workqueue.NewTypedRateLimitingQueue(limit), errands: newErrands(c.Workers), pace: newPace()}
}

// Enqueue asks for a look at a bond, soon: at once unless the bond was looked at very often just now. Asking again
// before that changes nothing.
func (l *Loop) Enqueue(k bond.Key, cause string) {
	if ce := l.c.Log.Check(zap.DebugLevel, "look"); ce != nil {
		ce.Write(zap.String("bond", k.String()), zap.String("cause", cause))
	}
	if wait := l.pace.wait(k, time.Now()); wait > 0 {
		l.queue.AddAfter(k, wait)
		return
	}
	l.queue.Add(k)
}

// Busy says whether a look is under way or waited for.
func (l *Loop) Busy() bool { return l.queue.Len() > 0 || l.done.Load() != l.begun.Load() }

// Done is how many looks have ended, well or not.
func (l *Loop) Done() uint64 { return l.done.Load() }

// Run works until ctx ends, then waits for the looks and errands under way.
func (l *Loop) Run(ctx context.Context) {
	defer l.errands.start(ctx)()
	stop := context.AfterFunc(ctx, l.queue.ShutDown)
	defer stop()
	var workers sync.WaitGroup
	for range l.c.Workers {
		workers.Go(func() {
			for l.next(ctx) {
			}
		})
	}
	workers.Wait()
}

func (l *Loop) next(ctx context.Context) bool {
	k, shutdown := l.queue.Get()
	if shutdown {
		return false
	}
	defer l.queue.Done(k)
	ctx, cancel := context.WithTimeout(ctx, l.c.Timeout)
	defer cancel()
	l.begun.Add(1)
	l.pace.looked(k, time.Now())
	l.look(ctx, k)
	l.done.Add(1)
	return true
}

func (l *Loop) look(ctx context.Context, k bond.Key) {
	out, err := l.c.Engine.Converge(ctx, k)
	switch {
	case errors.Is(err, bond.ErrLocked):
		// The plugin works on the bond. The worker is free for others meanwhile.
		l.queue.Forget(k)
		l.queue.AddAfter(k, lockedRetry)
		return
	case out.Record == nil && err == nil:
		l.c.Forget(k)
		l.queue.Forget(k)
		l.pace.forget(k)
		l.errands.note(k, false)
		return
	case out.Record != nil && out.Record.Deleted():
		l.finish(k, &out) //nolint:contextcheck // the errand outlives this look
		return
	case out.Status.State != "":
		l.c.Report(out.Status)
	}
	if out.LeaseDue {
		l.confirm(k) //nolint:contextcheck // the errand outlives this look
	}
	if out.RetryAfter > 0 {
		// The engine knows what it waits for, and how long.
		l.queue.Forget(k)
		l.queue.AddAfter(k, out.RetryAfter)
		return
	}
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			l.c.Log.Error("look failed", zap.String("bond", k.String()), zap.Error(err))
		}
		l.queue.AddRateLimited(k)
		return
	}
	l.queue.Forget(k)
}
