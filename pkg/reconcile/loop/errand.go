package loop

import (
	"context"
	"sync"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// releaseTimeout bounds a release. An IPAM plugin may itself wait a minute for its server.
const releaseTimeout = 2 * time.Minute

// errands are the calls of the loop that wait for other programs. They run outside the workers, so that a program that
// does not return delays no other bond. There is at most one per bond. How many run at the same time is bounded per pool, so
// that a program that hangs for many bonds delays only what waits for the same program.
type errands struct {
	atOnce int // per pool
	wg     sync.WaitGroup

	mu      sync.Mutex
	pools   map[string]chan struct{}
	ctx     context.Context //nolint:containedctx // the context of Run, set once by start
	running map[bond.Key]bool
	failing map[bond.Key]bool
	cancels map[bond.Key]context.CancelFunc // of errands that cancel may end
}

func newErrands(atOnce int) *errands {
	return &errands{atOnce: atOnce, pools: map[string]chan struct{}{}, running: map[bond.Key]bool{}, failing: map[bond.Key]bool{}, cancels: map[bond.Key]context.CancelFunc{}}
}

// start allows errands until ctx ends. The returned function waits for those that run.
func (e *errands) start(ctx context.Context) (wait func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ctx = ctx
	return e.wg.Wait
}

// pool has a slot for each errand of that name that may run. The caller holds e.mu.
func (e *errands) pool(name string) chan struct{} {
	p := e.pools[name]
	if p == nil {
		p = make(chan struct{}, e.atOnce)
		e.pools[name] = p
	}
	return p
}

// run starts an errand for a bond in a pool, unless one runs. What do returns is called when the bond may have another errand.
func (e *errands) run(k bond.Key, pool string, timeout time.Duration, do func(context.Context) (then func())) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.running[k] || e.ctx == nil || e.ctx.Err() != nil {
		return
	}
	e.running[k] = true
	ctx, slots := e.ctx, e.pool(pool)
	e.wg.Go(func() {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		case <-ctx.Done():
			return
		}
		limited, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		then := do(limited)
		e.end(k)
		then()
	})
}

func (e *errands) end(k bond.Key) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.running, k)
}

// cancellable is for an errand that is of no use when the bond ends. stop is to be called at its end.
func (e *errands) cancellable(ctx context.Context, k bond.Key) (limited context.Context, stop func()) {
	limited, cancel := context.WithCancel(ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cancels[k] = cancel
	return limited, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.cancels, k)
		cancel()
	}
}

// cancel ends a bond's errand if it is cancellable.
func (e *errands) cancel(k bond.Key) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if cancel := e.cancels[k]; cancel != nil {
		cancel()
	}
}

// note keeps whether the last attempt to release a bond failed.
func (e *errands) note(k bond.Key, failed bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !failed {
		delete(e.failing, k)
		return
	}
	e.failing[k] = true
}

// FailedReleases is how many bonds remain to be released after an attempt that failed, by the plugin or the agent.
func (l *Loop) FailedReleases() int {
	l.errands.mu.Lock()
	defer l.errands.mu.Unlock()
	return len(l.errands.failing)
}
