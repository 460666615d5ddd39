package install

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// If another program writes to the plugin's name, by rename, in place or by deleting it, the plugin is reinstalled and
// the other file is backed up.
func TestWatch(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, Name)
	ctx, cancel := context.WithCancel(t.Context())
	results, done := make(chan Result), make(chan error)
	go func() { done <- Watch(ctx, Config{Source: v1, Dir: dir}, func(r Result) { results <- r }) }()
	if r := <-results; !r.Changed || r.Version != "v1" {
		t.Errorf("at the start: %+v", r)
	}
	spoil := map[string]func() error{
		"rename": func() error {
			write(t, path+".new", foreign)
			return os.Rename(path+".new", path)
		},
		"in place": func() error { return os.WriteFile(path, []byte(foreign+"#"), 0o755) },
		"delete":   func() error { return os.Remove(path) },
		"mode":     func() error { return os.Chmod(path, 0o700) },
	}
	for name, f := range spoil {
		kit.Must(t, f())
		if r := <-results; !r.Changed {
			t.Errorf("%s: %+v", name, r)
		}
		if about, err := Probe(t.Context(), path); err != nil || about.Version != "v1" {
			t.Errorf("%s: there is %+v, %v", name, about, err)
		}
	}
	if _, err := Probe(t.Context(), filepath.Join(dir, Previous)); err != nil {
		t.Errorf("what was replaced: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("at the end: %v", err)
	}
}
