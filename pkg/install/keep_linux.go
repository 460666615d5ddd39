package install

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// quiet is how long nobody must have written to the plugin's name before it is looked at: another installer that
// copies a file there is then done.
const quiet = time.Second

// Keep installs the plugin and puts it back whenever somebody else changes the file of its name, until ctx ends; it
// then returns nil. Some clusters install a plugin of that name themselves, with every start of a node. tell is
// called with each Result that changed something, the first one in any case.
func Keep(ctx context.Context, c Config, tell func(Result)) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch %s: %w", c.Dir, err)
	}
	defer func() { _ = w.Close() }()
	if err := w.Add(c.Dir); err != nil {
		return fmt.Errorf("watch %s: %w", c.Dir, err)
	}
	first := true
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-w.Events:
			if filepath.Base(e.Name) == Name {
				timer.Reset(quiet)
			}
		case err := <-w.Errors:
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				return fmt.Errorf("watch %s: %w", c.Dir, err)
			}
			timer.Reset(quiet)
		case <-timer.C:
			r, err := Plugin(ctx, c)
			if err != nil {
				return err
			}
			if r.Changed || first {
				tell(r)
			}
			first = false
		}
	}
}
