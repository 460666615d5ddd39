package runtime

import "sync"

// maxStopped bounds the IDs in Stopped: they matter only until the sandbox's networks are deleted.
const maxStopped = 4096

// Stopped is the set of sandboxes that the runtime reported as stopped, so that callers need not query it. The zero
// value is ready. It is safe for concurrent use.
type Stopped struct {
	mu    sync.Mutex
	ids   map[string]bool
	order []string
}

// Add adds an ID. If there are too many the oldest is removed.
func (s *Stopped) Add(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids[id] {
		return
	}
	if s.ids == nil {
		s.ids = map[string]bool{}
	}
	if len(s.order) == maxStopped {
		delete(s.ids, s.order[0])
		s.order = s.order[1:]
	}
	s.ids[id] = true
	s.order = append(s.order, id)
}

// Has reports whether an ID was added.
func (s *Stopped) Has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ids[id]
}
