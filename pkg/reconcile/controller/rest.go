package controller

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

// maxRest is the longest pause between two resyncs of a bond, in resync periods.
const maxRest = 40

// rest has the bonds for which there is nothing to do. The kernel reports what changes, so the longer a resync finds
// nothing, the less likely the next one does: its pause doubles. Its methods are safe for concurrent use.
type rest struct {
	period time.Duration
	mu     sync.Mutex
	bonds  map[bond.Key]resting
}

type resting struct {
	pause time.Duration
	until time.Time
}

func newRest(period time.Duration) *rest {
	return &rest{period: period, bonds: map[bond.Key]resting{}}
}

// atRest reports whether a reconcile found nothing to do, now or later.
func atRest(out *reconcile.Outcome) bool {
	return out.Record != nil && out.Status.State == bond.StateReady && out.RetryAfter == 0 && len(out.Applied) == 0
}

// reconciled is called after each reconcile. After one that an event requested, the next resync is made in any case.
func (r *rest) reconciled(k bond.Key, atRest, onlyResync bool, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !atRest {
		delete(r.bonds, k)
		return
	}
	was, known := r.bonds[k]
	if !known || !onlyResync {
		r.bonds[k] = resting{pause: r.period, until: now}
		return
	}
	pause := min(2*was.pause, maxRest*r.period)
	third := int64(pause / 3) // jitter: the resyncs of many bonds part
	r.bonds[k] = resting{pause, now.Add(pause - time.Duration(rand.Int64N(third+1)))}
}

// skips reports whether a resync is left out.
func (r *rest) skips(k bond.Key, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return now.Before(r.bonds[k].until)
}
