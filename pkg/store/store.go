package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// DefaultDir is the default state directory. Like netns, /run does not outlive a boot.
const DefaultDir = "/run/bondkeeper"

// LockTimeout bounds the wait of Lock for a bond's lock.
const LockTimeout = 10 * time.Second

// Store is a state directory. Its methods are safe for concurrent use, by goroutines and by processes. It has no open
// files, and no state between calls other than what it has last read or written of each record.
type Store struct {
	dir, locks, tmp, reserved, deletions string
	lockTimeout                          time.Duration
	cache                                recordCache
}

// Open creates the state directory if it is missing and checks that no other user can write to it. dir must be
// absolute: the plugin's working directory is arbitrary.
func Open(dir string) (*Store, error) {
	if !filepath.IsAbs(dir) {
		return nil, fmt.Errorf("state directory %q: want an absolute path", dir)
	}
	s := &Store{dir: dir, locks: filepath.Join(dir, "locks"), tmp: filepath.Join(dir, "tmp"), reserved: filepath.Join(dir, "reserve"), deletions: filepath.Join(dir, "deletions"), lockTimeout: LockTimeout}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil { //nolint:gosec // parents of ours, as mkdir -p makes them
		return nil, fmt.Errorf("create the state directory: %w", err)
	}
	for _, d := range []string{s.dir, s.locks, s.tmp, s.reserved, s.deletions} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("create the state directory: %w", err)
		}
		if info, err := os.Lstat(d); d != s.dir && err == nil && !info.IsDir() {
			return nil, fmt.Errorf("state directory: %s is a symbolic link, want a directory", d)
		}
		if err := checkDir(d); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Dir returns the state directory.
func (s *Store) Dir() string { return s.dir }

// checkDir rejects a directory to which other users can write: they could choose which links are moved into which
// netns.
func checkDir(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	if err := checkOwner(info); err != nil {
		return fmt.Errorf("state directory %s: %w; it must be 0700 and belong to user %d", dir, err, os.Geteuid())
	}
	return nil
}

// checkOwner rejects files that other users than root and this process's can change.
func checkOwner(info os.FileInfo) error {
	if perm := info.Mode().Perm(); perm&0o022 != 0 {
		return fmt.Errorf("it has mode %#o and others may write to it", perm)
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 0 && int(owner) != os.Geteuid() {
		return fmt.Errorf("it belongs to user %d", owner)
	}
	return nil
}

const recordSuffix = ".json"

func recordName(k bond.Key) string { return k.String() + recordSuffix }

// KeyOf returns the bond of a record's file name, false if it is not one (a quarantined file, for example). The file
// need not exist or be readable.
func KeyOf(name string) (bond.Key, bool) {
	text, found := strings.CutSuffix(name, recordSuffix)
	if !found {
		return bond.Key{}, false
	}
	k, err := bond.ParseKey(text)
	if err != nil {
		return bond.Key{}, false
	}
	return k, true
}

// Recorded reports whether the directory dir has a record file of k, readable or not. It creates nothing and does not
// check dir.
func Recorded(dir string, k bond.Key) (bool, error) {
	_, err := os.Lstat(filepath.Join(dir, recordName(k)))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return false, nil
	}
	return err == nil, err
}
