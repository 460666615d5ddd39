package link

import (
	"fmt"
	"sync"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// keyedMutex has one lock per key. Callers do not wait, because they hold other locks and occupy a worker.
type keyedMutex[K comparable] struct {
	mu   sync.Mutex
	held map[K]bool
}

// tryLock takes the key's lock. If it is held the error matches bond.ErrInUse.
func (m *keyedMutex[K]) tryLock(key K) (unlock func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held[key] {
		return nil, fmt.Errorf("%w: another change of %v is under way", bond.ErrInUse, key)
	}
	if m.held == nil {
		m.held = map[K]bool{}
	}
	m.held[key] = true
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.held, key)
	}, nil
}
