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

// errUnlinked: the locked file was removed, so the lock has no effect.
var errUnlinked = errors.New("the lock file was removed")

// errHeld: another process has the lock.
var errHeld = errors.New("the lock is held")

// removeLock removes the lock file of a bond that has no record, if no process holds the lock or waits for it. It is
// called after every unlock and after every wait that failed, so the last of several processes removes the file.
//
// A bond with a record keeps its file. So plugin and agent do not recreate it while the bond lives. A program of an
// older version, which does not check the file after locking, meets a removed file only at a bond's end.
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
	if acquireUncontended(f) != nil {
		return
	}
	// Only the holder removes the file. No other process can have created a new one: tryAcquire has compared them.
	if !s.recorded(k) {
		_ = os.Remove(path)
	}
}

// acquireUncontended is tryAcquire for a process that only removes the file. While it has the turn, a holder that
// unlocks cannot remove the file and leaves that to it. So it gives up only if the lock is still held after it has
// released the turn: that holder tries to remove the file later.
func acquireUncontended(f *os.File) error {
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

// recorded returns false only if there is certainly no record file.
func (s *Store) recorded(k bond.Key) bool {
	found, err := Recorded(s.dir, k)
	return found || err != nil
}

// tryAcquire locks an open file, unless a process has the lock or waits for it.
func tryAcquire(f *os.File) error {
	if err := turn(f, unix.F_WRLCK); err != nil {
		return err
	}
	err := flock(f, unix.LOCK_EX)
	if errors.Is(err, unix.EAGAIN) {
		err = fmt.Errorf("%w: %w", errHeld, err)
	}
	if err == nil && !isAt(f, f.Name()) {
		err = errUnlinked
	}
	return errors.Join(err, turn(f, unix.F_UNLCK))
}

// isAt reports whether path still refers to the open file.
func isAt(f *os.File, path string) bool {
	opened, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(path)
	return err == nil && os.SameFile(opened, named)
}

// SweepLocks removes lock files that killed processes and older versions left. Files younger than ten minutes remain: a
// process of an older version may not have locked its file yet. The error is for a directory that cannot be listed and
// for ctx's end.
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
		if !isLock || err != nil { // the agent's lock, or not a lock file
			continue
		}
		if info, err := os.Lstat(filepath.Join(s.locks, name)); err == nil && old(info) {
			s.removeLock(k)
		}
	}
	return nil
}
