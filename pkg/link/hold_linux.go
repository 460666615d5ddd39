package link

import (
	"context"
	"sync"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// connections are retained for operations that follow each other. A conn is used by one operation at a time; one that
// finds none opens another.
type connections struct {
	mu sync.Mutex
	// holders counts the calls of Hold by netns; the zero Sandbox is the host's.
	holders map[bond.Sandbox]int
	idle    map[bond.Sandbox]*conn
}

// Hold makes the operations on a sandbox share their sockets until release is called, so that they open and enter its
// netns and the host's once. It is for a few operations in a row: an open netns keeps the VFs of an ended pod. It opens
// nothing itself, and may be called several times at once; each release may be called once.
func (k *Kernel) Hold(s bond.Sandbox) (release func()) {
	k.conns.hold(s)
	k.conns.hold(bond.Sandbox{})
	return func() {
		k.conns.release(s)
		k.conns.release(bond.Sandbox{})
	}
}

func (c *connections) hold(s bond.Sandbox) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.holders == nil {
		c.holders, c.idle = map[bond.Sandbox]int{}, map[bond.Sandbox]*conn{}
	}
	c.holders[s]++
}

func (c *connections) release(s bond.Sandbox) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.holders[s]--; c.holders[s] > 0 {
		return
	}
	delete(c.holders, s)
	if left := c.idle[s]; left != nil {
		delete(c.idle, s)
		left.shut()
	}
}

// take returns the idle conn of a netns for an operation; nil if there is none, or if the sandbox's path no longer leads
// to that netns.
func (c *connections) take(ctx context.Context, s bond.Sandbox) *conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	idle := c.idle[s]
	if idle == nil {
		return nil
	}
	delete(c.idle, s)
	if idle.place == bond.InPod && !idle.ns.AtPath() {
		idle.shut()
		return nil
	}
	idle.ctx = ctx
	if idle.genl != nil {
		idle.genl.ctx = ctx
	}
	return idle
}

// retain returns a conn after an operation; false if it is to be closed: its netns is not held, or the response to its
// last request was not read to the end.
func (c *connections) retain(idle *conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.holders[idle.sandbox] == 0 || c.idle[idle.sandbox] != nil || idle.pending || idle.genl != nil && idle.genl.pending {
		return false
	}
	idle.pause = nil
	c.idle[idle.sandbox] = idle
	return true
}
