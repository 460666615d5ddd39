package link

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// maxHold is how long a holder of a keyed lock is waited for. What takes longer is slow, or hangs.
const maxHold = 250 * time.Millisecond

// keyedMutex has one lock per key. A caller waits only for a holder that has just taken the lock, because it holds other
// locks and occupies a worker.
type keyedMutex[K comparable] struct {
	mu   sync.Mutex
	held map[K]*holder
}

// holder is the holder of one key's lock.
type holder struct {
	since time.Time
	ended chan struct{}
}

// lock takes the key's lock. If it is held for longer than maxHold, or ctx ends, the error matches bond.ErrInUse.
func (m *keyedMutex[K]) lock(ctx context.Context, key K) (unlock func(), err error) {
	for {
		other, unlock := m.tryLock(key)
		if other == nil {
			return unlock, nil
		}
		slow := time.NewTimer(time.Until(other.since.Add(maxHold)))
		select {
		case <-other.ended:
			slow.Stop()
			continue
		case <-slow.C:
		case <-ctx.Done():
			slow.Stop()
		}
		return nil, fmt.Errorf("%w: another change of %v is under way", bond.ErrInUse, key)
	}
}

// tryLock takes the key's lock unless another one holds it.
func (m *keyedMutex[K]) tryLock(key K) (other *holder, unlock func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h := m.held[key]; h != nil {
		return h, nil
	}
	if m.held == nil {
		m.held = map[K]*holder{}
	}
	h := &holder{since: time.Now(), ended: make(chan struct{})}
	m.held[key] = h
	return nil, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.held, key)
		close(h.ended)
	}
}
