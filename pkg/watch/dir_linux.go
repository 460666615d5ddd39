package watch

import (
	"errors"
	"fmt"

	"github.com/fsnotify/fsnotify"
)

// dirWatch reports changes in one directory. A nil dirWatch reports none.
type dirWatch struct {
	events <-chan fsnotify.Event
	errors <-chan error
	stop   func() error
}

func openDir(dir string) (*dirWatch, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("make a file watcher: %w", err)
	}
	if err := w.Add(dir); err != nil {
		return nil, errors.Join(fmt.Errorf("watch %s: %w", dir, err), end(w))
	}
	return &dirWatch{events: w.Events, errors: w.Errors, stop: func() error { return end(w) }}, nil
}

// end closes the watcher and waits for its goroutine, which Close does not quite do.
func end(w *fsnotify.Watcher) error {
	if err := w.Close(); err != nil {
		return fmt.Errorf("end a file watcher: %w", err)
	}
	for range w.Events { // the goroutine closes it last
	}
	return nil
}

func (d *dirWatch) channels() (<-chan fsnotify.Event, <-chan error) {
	if d == nil {
		return nil, nil
	}
	return d.events, d.errors
}

func (d *dirWatch) close() {
	if d != nil {
		_ = d.stop() // the watch has failed already
	}
}
