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
	// released: due was called since it was last held back.
	released bool
}

func newHoldback(due func(bond.Key)) *holdback {
	return &holdback{due: due, held: map[bond.Key]heldBack{}}
}

// maxReleased bounds the verifications that are released at once. They may all have to be held back again.
const maxReleased = 8

// begin begins a reconcile. A repair is also the verification of what came before it.
func (h *holdback) begin(k bond.Key, verifies bool) (end func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forget(k)
	repairs := 1
	if verifies {
		repairs = 0
	}
	h.repairs += repairs
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.repairs -= repairs
		h.release()
	}
}

// release has some verifications requested, if no repair is under way. The end of each releases others.
func (h *holdback) release() {
	left := maxReleased
	for k, b := range h.held {
		if h.repairs > 0 || left == 0 {
			return
		}
		if !b.released {
			b.released = true
			h.held[k] = b
			h.due(k)
			left--
		}
	}
}

// holds reports whether the verification of a bond must wait.
func (h *holdback) holds(k bond.Key) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	b, again := h.held[k]
	if h.repairs == 0 || again && time.Since(b.since) >= maxHeld {
		return false
	}
	if !again {
		b = heldBack{since: time.Now(), limit: time.AfterFunc(maxHeld, func() { h.due(k) })}
	}
	b.released = false
	h.held[k] = b
	return true
}

func (h *holdback) forget(k bond.Key) {
	if b, held := h.held[k]; held {
		b.limit.Stop()
		delete(h.held, k)
	}
}
