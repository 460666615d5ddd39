package watch

import (
	"fmt"

	"github.com/fsnotify/fsnotify"
)

// dirWatch tells of changes in one directory. A nil dirWatch tells of none.
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
		_ = w.Close() // nothing was read from it
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	return &dirWatch{events: w.Events, errors: w.Errors, stop: w.Close}, nil
}

func (d *dirWatch) channels() (<-chan fsnotify.Event, <-chan error) {
	if d == nil {
		return nil, nil
	}
	return d.events, d.errors
}

func (d *dirWatch) close() {
	if d != nil {
		_ = d.stop() // a watch that is given up
	}
}
