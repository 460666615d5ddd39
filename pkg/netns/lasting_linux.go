package netns

import "sync"

// lasting is a value that does not change while the process lives. It is read once. An error is not remembered: the
// process or the node may only have run out of files or memory. It is safe for concurrent use.
type lasting[T any] struct {
	read  func() (T, error)
	mu    sync.Mutex
	known bool
	value T
}

func (l *lasting[T]) get() (T, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known {
		return l.value, nil
	}
	value, err := l.read()
	if err == nil {
		l.value, l.known = value, true
	}
	return value, err
}
