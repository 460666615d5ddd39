package install

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// quietPeriod is the time without a change of the plugin's file after which it is checked: another installer that
// copies a file is done then.
const quietPeriod = time.Second

// Watch installs the plugin, and again whenever another program changes the file, until ctx ends; it then returns nil.
// Some clusters install a plugin of that name with every start of a node. report is called with the first Result and
// with each that changed something.
func Watch(ctx context.Context, c Config, report func(Result)) error {
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
				timer.Reset(quietPeriod)
			}
		case err := <-w.Errors:
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				return fmt.Errorf("watch %s: %w", c.Dir, err)
			}
			timer.Reset(quietPeriod)
		case <-timer.C:
			r, err := Plugin(ctx, c)
			if err != nil {
				return err
			}
			if r.Changed || first {
				report(r)
			}
			first = false
		}
	}
}
