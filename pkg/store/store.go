// Package store keeps the records of pod bonds in files: one file a bond, whole at
// any time, for several processes of possibly different versions at once; and the locks
// by which these processes take turns.
//
// The room holds files and nothing else. It imports pkg/bond only, and knows neither the
// kernel's links nor Kubernetes. What happens in the directory is watched elsewhere.
//
// # Layout
//
//	/run/bondkeeper/                       0700
//	  <containerID>@<ifName>.json          a record; comes and changes by rename only
//	  <containerID>@<ifName>.json.bad-1    a record that could not be read, set aside
//	  locks/<containerID>@<ifName>.lock    held with flock(2); removed when no record, holder or waiter is left
//	  locks/agent.lock                     the same for the node's agent, with its pid in it
//	  tmp/                                 records that are being written
//	  spare/<containerID>@<ifName>.json    room for the record's tombstone
//	  deletions/<containerID>@<ifName>.T   the record made at time T is a tombstone, whatever it says
//
// Locks, temporary files and spare room have directories of their own, so that who watches the
// upper one hears once of each change of a record and of nothing else.
//
// # Records that cannot be read
//
// One bad file harms no other bond and is never deleted. A damaged one is renamed out
// of the way, under the bond's lock, by whoever next lists, saves or removes. One of a
// newer format version is not damaged: it stays on its name for the newer program that
// wrote it (an upgrade under way, or a downgrade that is taken back), and this one
// leaves that bond alone. To Load, both count as no record, so that a DEL succeeds.
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

// DefaultDir is the state directory where none is configured. A netns does not outlive
// a boot, and neither does what is in /run.
const DefaultDir = "/run/bondkeeper"

// LockTimeout is how long Lock waits for a bond's lock.
const LockTimeout = 10 * time.Second

// Store is a state directory. Its methods are safe for concurrent use, by goroutines and
// by processes. It holds nothing open and remembers nothing between calls.
type Store struct {
	dir, locks, tmp, spare, deletions string
	lockTimeout                       time.Duration
}

// Open makes the state directory if it is missing and checks that it is ours alone. dir
// is an absolute path: the plugin's working directory is anybody's.
func Open(dir string) (*Store, error) {
	if !filepath.IsAbs(dir) {
		return nil, fmt.Errorf("state directory %q: want an absolute path", dir)
	}
	s := &Store{dir: dir, locks: filepath.Join(dir, "locks"), tmp: filepath.Join(dir, "tmp"), spare: filepath.Join(dir, "spare"), deletions: filepath.Join(dir, "deletions"), lockTimeout: LockTimeout}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil { //nolint:gosec // parents of ours, as mkdir -p makes them
		return nil, fmt.Errorf("make the state directory: %w", err)
	}
	for _, d := range []string{s.dir, s.locks, s.tmp, s.spare, s.deletions} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("make the state directory: %w", err)
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

// Dir is the state directory.
func (s *Store) Dir() string { return s.dir }

// checkDir refuses a directory in which somebody else could put or replace files. Whoever
// can do that chooses which links are moved into which netns.
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

// checkOwner refuses what other users than root and this process's may change.
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

// KeyOf says whose record's file name is; false if it is that of no record, such as one that
// was set aside. The file need not exist or be readable.
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

// Recorded reports whether the directory dir has a file on the name of k's record, readable or not. It makes nothing, and
// does not ask whether dir may be used.
func Recorded(dir string, k bond.Key) (bool, error) {
	_, err := os.Lstat(filepath.Join(dir, recordName(k)))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return false, nil
	}
	return err == nil, err
}
