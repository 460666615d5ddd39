package controller

import (
	"sync"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// requests has why each bond is to be reconciled. Its methods are safe for concurrent use.
type requests struct {
	mu    sync.Mutex
	bonds map[bond.Key]request
}

// request is what was requested since the last reconcile began.
type request struct {
	resync bool
	// other is when the first request came that is no resync; zero if none did.
	other time.Time
}

func newRequests() *requests { return &requests{bonds: map[bond.Key]request{}} }

func (r *requests) add(k bond.Key, resync bool, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	q := r.bonds[k]
	if resync {
		q.resync = true
	} else if q.other.IsZero() {
		q.other = now
	}
	r.bonds[k] = q
}

// take begins a reconcile. It reports whether only a resync has requested it.
func (r *requests) take(k bond.Key) (onlyResync bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	q := r.bonds[k]
	delete(r.bonds, k)
	return q.resync && q.other.IsZero()
}

// otherBy reports whether there was another request than a resync since the reconcile began, until t.
func (r *requests) otherBy(k bond.Key, t time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	other := r.bonds[k].other
	return !other.IsZero() && !other.After(t)
}
