package controller

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// A pod can cause events on its own links as fast as it likes. The limit per bond for reconciles after events: a burst,
// then a rate per second. Reconciles that the engine requests are not limited.
const (
	eventBurst = 50
	eventRate  = 20
)

// eventLimiter limits the reconciles of each bond. Its methods are safe for concurrent use.
type eventLimiter struct {
	mu    sync.Mutex
	bonds map[bond.Key]*rate.Limiter
}

func newEventLimiter() *eventLimiter { return &eventLimiter{bonds: map[bond.Key]*rate.Limiter{}} }

// wait returns how long the next reconcile of a bond has to wait.
func (p *eventLimiter) wait(k bond.Key, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	limiter := p.bonds[k]
	if limiter == nil {
		return 0
	}
	missing := 1 - limiter.TokensAt(now)
	return max(0, time.Duration(missing*float64(time.Second)/eventRate))
}

// count counts a reconcile.
func (p *eventLimiter) count(k bond.Key, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	limiter := p.bonds[k]
	if limiter == nil {
		limiter = rate.NewLimiter(eventRate, eventBurst)
		p.bonds[k] = limiter
	}
	limiter.AllowN(now, 1)
}

// forget removes a bond.
func (p *eventLimiter) forget(k bond.Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.bonds, k)
}
