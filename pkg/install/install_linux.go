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
	"strings"
)

const (
	// Name is the plugin's file name: the type in a network config.
	Name = "bond"
	// Previous is the file name of the backup of another plugin that had Name.
	Previous = Name + ".previous"
	// temporary files are named so that no runtime takes them for a network config's type.
	temporary = "." + Name + "-*.tmp"
)

// Config configures an installation.
type Config struct {
	// Source is the plugin's binary.
	Source string
	// Dir is the directory in which the container runtime and Multus look for plugins.
	Dir string
}

// Result describes what Plugin did.
type Result struct {
	// Path is the plugin's path, SHA256 the hex digest of the file.
	Path, SHA256 string
	// Version is the plugin's version.
	Version string
	// Changed is false if the same plugin was installed already.
	Changed bool
	// Backup is the path of the backup of another plugin; empty if there was none.
	Backup string
}

// Plugin installs the plugin. The new file is written beside the old one, synced, run, and then renamed: at any moment
// the directory has the old plugin or the new one. Other callers for the same directory wait until ctx ends. An
// identical plugin is not written again.
//
// Another project's plugin is copied to Previous. An older one of ours is not: its own image can install it again.
// Errors contain the remedy; the installed plugin is unchanged then.
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
	if isInstalled(r.Path, r.SHA256) {
		about, err := Probe(ctx, r.Path)
		if err != nil {
			return Result{}, err
		}
		r.Version = about.Version
		return r, nil
	}
	r.Changed = true
	return r, replace(ctx, c.Dir, program, &r)
}

// replace writes the program and renames it to the plugin's name.
func replace(ctx context.Context, dir string, program []byte, r *Result) error {
	temp, err := writeTemp(dir, program)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp) }() // fails after the rename
	about, err := Probe(ctx, temp)
	if err != nil {
		return fmt.Errorf("the new plugin does not run on this node, %s is unchanged: %w", r.Path, err)
	}
	r.Version = about.Version
	if r.Backup, err = backupForeign(dir); err != nil {
		return err
	}
	if err := os.Rename(temp, r.Path); err != nil {
		return fmt.Errorf("give the plugin its name: %w", err)
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	if !isInstalled(r.Path, r.SHA256) {
		return fmt.Errorf("%s is not what was just written there (sha256 %s): does another installer write the same file?", r.Path, r.SHA256)
	}
	return nil
}

// backupForeign copies another project's plugin to Previous and returns that path; empty if there is none. It is a
// copy, because the kernel rejects hard links to files of other users (fs.protected_hardlinks).
func backupForeign(dir string) (string, error) {
	old := filepath.Join(dir, Name)
	info, err := os.Lstat(old)
	if errors.Is(err, fs.ErrNotExist) || err == nil && IsBondkeeper(old) {
		return "", nil
	}
	var temp string
	if err == nil {
		temp, err = copyOf(old, info.Mode(), dir)
	}
	if err != nil {
		return "", fmt.Errorf("back up the installed plugin: %w", err)
	}
	to := filepath.Join(dir, Previous)
	if err := os.Rename(temp, to); err != nil {
		return "", fmt.Errorf("back up the installed plugin: %w", errors.Join(err, os.Remove(temp)))
	}
	return to, nil
}

// copyOf copies a program to a temporary file. Of a symbolic link the copy is a link, too: its target need not be visible
// in the installer's container.
func copyOf(program string, mode fs.FileMode, dir string) (string, error) {
	if mode&fs.ModeSymlink == 0 {
		content, err := os.ReadFile(program)
		if err != nil {
			return "", err
		}
		return writeTemp(dir, content)
	}
	target, err := os.Readlink(program)
	if err != nil {
		return "", err
	}
	temp := filepath.Join(dir, strings.Replace(temporary, "*", "link", 1))
	return temp, os.Symlink(target, temp)
}

// isInstalled reports whether the file at path has that digest and may be run by all users.
func isInstalled(path, sum string) bool {
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
