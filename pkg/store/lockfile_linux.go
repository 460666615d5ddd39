package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// agentLock is the one lock file that is never removed.
const agentLock = "agent" + lockSuffix

// errUnlinked: the lock is on a file that was removed, so it excludes nobody.
var errUnlinked = errors.New("the lock file was removed")

// errHeld: a process has the lock, and nobody waited for it.
var errHeld = errors.New("the lock is held")

// removeLock removes the lock file of a bond that has no record, if no process holds the lock or waits for it. It is
// called after every unlock and after every wait that failed, so the last of several processes removes the file.
//
// A bond with a record keeps its file. So plugin and agent, which take turns while the bond lives, create none anew, and
// a program of an older version, which does not check what it has locked, meets a removed file only at a bond's end.
func (s *Store) removeLock(k bond.Key) {
	if s.recorded(k) {
		return
	}
	path := s.lockPath(k)
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer release(f)
	if acquireAlone(f) != nil {
		return
	}
	// Only the holder removes the file. No other process can have made a new one meanwhile: tryAcquire has compared them.
	if !s.recorded(k) {
		_ = os.Remove(path)
	}
}

// acquireAlone is tryAcquire for a process that only removes the file. While it is first in line, a holder that unlocks
// cannot remove the file and leaves that to it. So it gives up only if the lock is still held after it has left the line:
// that holder tries to remove the file later.
func acquireAlone(f *os.File) error {
	for {
		err := tryAcquire(f)
		if !errors.Is(err, errHeld) || flock(f, unix.LOCK_EX) != nil {
			return err
		}
		if err := flock(f, unix.LOCK_UN); err != nil {
			return err
		}
	}
}

// recorded is false if it is certain that there is no file on the record's name.
func (s *Store) recorded(k bond.Key) bool {
	found, err := Recorded(s.dir, k)
	return found || err != nil
}

// tryAcquire takes the lock of an open file, unless a process has it or waits for it.
func tryAcquire(f *os.File) error {
	if err := place(f, unix.F_WRLCK); err != nil {
		return err
	}
	err := flock(f, unix.LOCK_EX)
	if errors.Is(err, unix.EAGAIN) {
		err = fmt.Errorf("%w: %w", errHeld, err)
	}
	if err == nil && !isAt(f, f.Name()) {
		err = errUnlinked
	}
	return errors.Join(err, place(f, unix.F_UNLCK))
}

// isAt reports whether path still leads to the open file.
func isAt(f *os.File, path string) bool {
	opened, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(path)
	return err == nil && os.SameFile(opened, named)
}

// SweepLocks removes the lock files that killed processes and older versions left. Files that were made in the last ten
// minutes may be of a process of an older version that has not locked its file yet, and stay. The error is for a
// directory that cannot be listed and for ctx's end.
func (s *Store) SweepLocks(ctx context.Context) error {
	names, err := snapshot(s.locks)
	if err != nil {
		return fmt.Errorf("list locks: %w", err)
	}
	for _, name := range names {
		if ctx.Err() != nil {
			return fmt.Errorf("list locks: %w", context.Cause(ctx))
		}
		text, isLock := strings.CutSuffix(name, lockSuffix)
		k, err := bond.ParseKey(text)
		if !isLock || err != nil { // the agent's, and what no Store makes
			continue
		}
		if info, err := os.Lstat(filepath.Join(s.locks, name)); err == nil && old(info) {
			s.removeLock(k)
		}
	}
	return nil
}
