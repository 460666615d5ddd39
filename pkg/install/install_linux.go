package install

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	// Name is the plugin's file name: the type in a network config.
	Name = "bond"
	// Previous is the name under which the plugin of another maker is kept that had Name before.
	Previous = Name + ".previous"
	// temporary files are named so that no runtime takes them for a network config's type.
	temporary = "." + Name + "-*.tmp"
)

// Config says what is installed where.
type Config struct {
	// Source is the plugin's binary.
	Source string
	// Dir is the directory that the container runtime and Multus look for plugins in.
	Dir string
}

// Result is what Plugin did.
type Result struct {
	// Path is that of the plugin, SHA256 the hex digest of what is there now.
	Path, SHA256 string
	// Version is what the plugin says of itself.
	Version string
	// Changed is false when the same plugin was there already.
	Changed bool
	// Kept is the path under which the plugin of another maker was kept; empty when there was none.
	Kept string
}

// Plugin installs the plugin. The new file is written beside the old one, synced, run, and only then renamed to
// the plugin's name; a process that is killed at any moment leaves the old plugin or the new one. Whoever
// calls it for the same directory meanwhile waits, until ctx ends. The same plugin is not written again.
//
// A plugin of another maker is kept as Previous. An older one of ours is not: its own image installs it.
// Errors say what to do; nothing that matters has changed then.
func Plugin(ctx context.Context, c Config) (Result, error) {
	program, err := os.ReadFile(c.Source)
	if err != nil {
		return Result{}, fmt.Errorf("read the plugin to install: %w", err)
	}
	unlock, err := lock(ctx, c.Dir)
	if err != nil {
		return Result{}, err
	}
	defer unlock()
	if err := sweep(c.Dir); err != nil {
		return Result{}, err
	}
	r := Result{Path: filepath.Join(c.Dir, Name), SHA256: digest(program)}
	if same(r.Path, r.SHA256) {
		about, err := Ask(ctx, r.Path)
		if err != nil {
			return Result{}, err
		}
		r.Version = about.Version
		return r, nil
	}
	r.Changed = true
	return r, replace(ctx, c.Dir, program, &r)
}

// replace brings the program to the plugin's name.
func replace(ctx context.Context, dir string, program []byte, r *Result) error {
	staged, err := stage(dir, program)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(staged) }() // it has moved on if all went well
	about, err := Ask(ctx, staged)
	if err != nil {
		return fmt.Errorf("the new plugin does not run on this node, %s stays as it was: %w", r.Path, err)
	}
	r.Version = about.Version
	if r.Kept, err = keep(dir); err != nil {
		return err
	}
	if err := os.Rename(staged, r.Path); err != nil {
		return fmt.Errorf("give the plugin its name: %w", err)
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	if !same(r.Path, r.SHA256) {
		return fmt.Errorf("%s is not what was just written there (sha256 %s): does another installer write the same file?", r.Path, r.SHA256)
	}
	return nil
}

// keep copies a plugin of another maker to Previous and answers that path; empty when there is none to keep.
// It is a copy, because the kernel refuses hard links to files of other users (fs.protected_hardlinks).
func keep(dir string) (string, error) {
	old := filepath.Join(dir, Name)
	program, err := os.ReadFile(old)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("keep the plugin that is there: %w", err)
	case Ours(old):
		return "", nil
	}
	staged, err := stage(dir, program)
	if err != nil {
		return "", fmt.Errorf("keep the plugin that is there: %w", err)
	}
	to := filepath.Join(dir, Previous)
	if err := os.Rename(staged, to); err != nil {
		return "", fmt.Errorf("keep the plugin that is there: %w", errors.Join(err, os.Remove(staged)))
	}
	return to, nil
}

// same says whether the file at path is a program with that digest that everybody may run.
func same(path, sum string) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm() != mode {
		return false
	}
	now, err := os.ReadFile(path)
	return err == nil && digest(now) == sum
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
