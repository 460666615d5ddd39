package runtime

import "sync"

// maxStopped bounds what Stopped remembers: a sandbox matters for the moments between its end and its networks'.
const maxStopped = 4096

// Stopped remembers the sandboxes that a runtime reported as stopped, so that nobody has to ask it. The zero value is
// ready. It is safe for concurrent use.
type Stopped struct {
	mu    sync.Mutex
	ids   map[string]bool
	order []string
}

// Note remembers an ID; the oldest of too many is forgotten.
func (s *Stopped) Note(id string) {
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

// Has reports whether an ID was noted.
func (s *Stopped) Has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ids[id]
}
