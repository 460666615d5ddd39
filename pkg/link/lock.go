package link

import (
	"context"
	"fmt"
	"sync"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// keyedMutex is a lock a key. Keys are few (a node's PFs) and never forgotten.
type keyedMutex[K comparable] struct {
	mu    sync.Mutex
	locks map[K]chan struct{}
}

// lock waits for the key's lock until ctx ends; the error then matches bond.ErrBusy.
func (m *keyedMutex[K]) lock(ctx context.Context, key K) (unlock func(), err error) {
	m.mu.Lock()
	if m.locks == nil {
		m.locks = map[K]chan struct{}{}
	}
	held := m.locks[key]
	if held == nil {
		held = make(chan struct{}, 1)
		m.locks[key] = held
	}
	m.mu.Unlock()
	select {
	case held <- struct{}{}:
		return func() { <-held }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: wait for another change of %v: %w", bond.ErrBusy, key, ctx.Err())
	}
}
