package controller

import (
	"context"
	"sync"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

// pollTimeout bounds one check.
const pollTimeout = 5 * time.Second

// poller checks bonds of which the kernel does not report all changes. Without such bonds it sleeps. Checks with the
// same interval are made at the same times, so that they share what they read of a PF.
type poller struct {
	began time.Time
	mu    sync.Mutex
	bonds map[bond.Key]polled
	wake  chan struct{} // the first check is due at another time
}

type polled struct {
	*reconcile.Poll
	due time.Time
}

func newPoller() *poller {
	return &poller{began: time.Now(), bonds: map[bond.Key]polled{}, wake: make(chan struct{}, 1)}
}

// set replaces what is checked of a bond; nil ends the checks.
func (p *poller) set(k bond.Key, to *reconcile.Poll) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.bonds, k)
	if to == nil {
		return
	}
	p.bonds[k] = polled{Poll: to, due: p.after(time.Now(), to.Every)}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// after returns the first time of checks with an interval after now.
func (p *poller) after(now time.Time, every time.Duration) time.Time {
	return p.began.Add(now.Sub(p.began).Truncate(every) + every)
}

// run checks until ctx ends. A bond that has changed is passed to changed, and not checked again before the next set.
func (p *poller) run(ctx context.Context, check func(context.Context, *reconcile.Poll) string, changed func(k bond.Key, cause string)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-timer.C:
		}
		for k, b := range p.takeDue() {
			limited, cancel := context.WithTimeout(ctx, pollTimeout)
			cause := check(limited, b.Poll)
			cancel()
			if cause != "" && ctx.Err() == nil {
				p.drop(k, b.Poll)
				changed(k, cause)
			}
		}
		if next, any := p.next(); any {
			timer.Reset(time.Until(next))
		}
	}
}

// takeDue returns the bonds whose check is due, and schedules the next one.
func (p *poller) takeDue() map[bond.Key]polled {
	p.mu.Lock()
	defer p.mu.Unlock()
	due := map[bond.Key]polled{}
	now := time.Now()
	for k, b := range p.bonds {
		if b.due.After(now) {
			continue
		}
		b.due = p.after(now, b.Every)
		p.bonds[k], due[k] = b, b
	}
	return due
}

// drop ends the checks of a bond, unless they have been replaced.
func (p *poller) drop(k bond.Key, was *reconcile.Poll) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bonds[k].Poll == was {
		delete(p.bonds, k)
	}
}

// next returns when the first check is due.
func (p *poller) next() (first time.Time, any bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.bonds {
		if !any || b.due.Before(first) {
			first, any = b.due, true
		}
	}
	return first, any
}
