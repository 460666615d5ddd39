package controller

import (
	"context"
	"sync"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// releaseTimeout bounds a release. An IPAM plugin may itself wait a minute for its server.
const releaseTimeout = 2 * time.Minute

// backgroundTasks are calls that wait for other programs. They run outside the workers, so that a program that hangs
// delays no other bond. There is at most one per bond. How many run at the same time is bounded per pool, so that a
// program that hangs for many bonds delays only tasks that need the same program.
type backgroundTasks struct {
	perPool int // per pool
	wg      sync.WaitGroup

	mu      sync.Mutex
	pools   map[string]chan struct{}
	ctx     context.Context //nolint:containedctx // the context of Run, set once by start
	running map[bond.Key]bool
	failing map[bond.Key]bool
	cancels map[bond.Key]context.CancelFunc // of tasks that cancel may end
}

func newBackgroundTasks(perPool int) *backgroundTasks {
	return &backgroundTasks{perPool: perPool, pools: map[string]chan struct{}{}, running: map[bond.Key]bool{}, failing: map[bond.Key]bool{}, cancels: map[bond.Key]context.CancelFunc{}}
}

// start allows tasks until ctx ends. The returned function waits for running ones.
func (e *backgroundTasks) start(ctx context.Context) (wait func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ctx = ctx
	return e.wg.Wait
}

// pool has a slot for each task of that pool that may run. The caller holds e.mu.
func (e *backgroundTasks) pool(name string) chan struct{} {
	p := e.pools[name]
	if p == nil {
		p = make(chan struct{}, e.perPool)
		e.pools[name] = p
	}
	return p
}

// run starts a task for a bond in a pool, unless one is running. The function that do returns is called when the bond
// may have another task. A task that is useless when the bond ends is cancellable: cancel ends its context, also while it
// waits for a slot.
func (e *backgroundTasks) run(k bond.Key, pool string, timeout time.Duration, cancellable bool, do func(context.Context) (then func())) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.running[k] || e.ctx == nil || e.ctx.Err() != nil {
		return
	}
	e.running[k] = true
	parent, slots := e.ctx, e.pool(pool)
	ctx, cancel := context.WithCancel(parent)
	if cancellable {
		e.cancels[k] = cancel
	}
	e.wg.Go(func() {
		defer cancel()
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		case <-ctx.Done():
			if parent.Err() != nil {
				return
			}
		}
		limited, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		then := do(limited)
		e.end(k)
		then()
	})
}

func (e *backgroundTasks) end(k bond.Key) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.running, k)
	delete(e.cancels, k)
}

// cancel ends a bond's task if it is cancellable.
func (e *backgroundTasks) cancel(k bond.Key) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if cancel := e.cancels[k]; cancel != nil {
		cancel()
	}
}

// setFailing records whether the last attempt to release a bond failed.
func (e *backgroundTasks) setFailing(k bond.Key, failed bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !failed {
		delete(e.failing, k)
		return
	}
	e.failing[k] = true
}

// FailedReleases returns the number of bonds whose release has failed, by the plugin or the agent, and is not done yet.
func (l *Controller) FailedReleases() int {
	l.tasks.mu.Lock()
	defer l.tasks.mu.Unlock()
	return len(l.tasks.failing)
}
