package controller

import (
	"sync"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// maxHeld is how long a verification waits for repairs that are under way: a driver may take longer for one.
const maxHeld = time.Second

// holdback holds verifications back while other bonds are repaired: both wait for the kernel's lock (RTNL), so each
// request of a verification delays the repairs, also on a machine with many processors. Its methods are safe for
// concurrent use.
type holdback struct {
	// due is called when a verification need not wait any more.
	due     func(bond.Key)
	mu      sync.Mutex
	repairs int // under way
	held    map[bond.Key]heldBack
}

type heldBack struct {
	since time.Time
	limit *time.Timer
}

func newHoldback(due func(bond.Key)) *holdback {
	return &holdback{due: due, held: map[bond.Key]heldBack{}}
}

// repair begins one, which is also the verification of what came before it. Verifications are due when the last one ends.
func (h *holdback) repair(k bond.Key) (end func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.repairs++
	h.forget(k)
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.repairs--; h.repairs > 0 {
			return
		}
		for k := range h.held {
			h.due(k)
		}
	}
}

// holds reports whether the verification of a bond must wait.
func (h *holdback) holds(k bond.Key) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	b, again := h.held[k]
	if h.repairs == 0 || again && time.Since(b.since) >= maxHeld {
		h.forget(k)
		return false
	}
	if !again {
		h.held[k] = heldBack{time.Now(), time.AfterFunc(maxHeld, func() { h.due(k) })}
	}
	return true
}

func (h *holdback) forget(k bond.Key) {
	if b, held := h.held[k]; held {
		b.limit.Stop()
		delete(h.held, k)
	}
}
