package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

const (
	firstPoll = time.Millisecond
	// bondPoll is the longest pause between two attempts to lock a bond. Locks are held for milliseconds, or for
	// seconds if a driver is slow.
	bondPoll = 10 * time.Millisecond
	// agentPoll is the same for the agent's lock, which is held while an agent runs.
	agentPoll = 500 * time.Millisecond
)

// Lock locks one bond, against all goroutines and processes, the caller included. It waits until ctx ends or
// LockTimeout is over; the error then matches bond.ErrLocked and ctx's cause. unlock may be called twice. The kernel
// releases the lock of a process that dies.
func (s *Store) Lock(ctx context.Context, k bond.Key) (unlock func(), err error) {
	if err = k.Validate(); err != nil {
		return nil, fmt.Errorf("lock bond: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.lockTimeout, fmt.Errorf("waited for %s", s.lockTimeout))
	defer cancel()
	f, err := acquire(ctx, s.lockPath(k), bondPoll, nil)
	if err != nil {
		s.removeLock(k)
		return nil, fmt.Errorf("lock bond %s: %w", k, err)
	}
	return s.unlocker(f, k), nil
}

// tryLock is like Lock without waiting.
func (s *Store) tryLock(k bond.Key) (unlock func(), err error) {
	f, err := openLock(s.lockPath(k))
	if err != nil {
		return nil, err
	}
	if err := tryAcquire(f); err != nil {
		release(f)
		s.removeLock(k) // this attempt may have stopped the holder from removing it
		return nil, err
	}
	return s.unlocker(f, k), nil
}

func (s *Store) unlocker(f *os.File, k bond.Key) func() {
	return sync.OnceFunc(func() {
		release(f)
		s.removeLock(k)
	})
}

const lockSuffix = ".lock"

func (s *Store) lockPath(k bond.Key) string {
	return filepath.Join(s.locks, k.String()+lockSuffix)
}

// LockAgent takes the lock of the node's agent and waits for it until ctx ends. If another agent has it, onWait is
// called once with that agent's pid in its own pid namespace, 0 if unknown.
func (s *Store) LockAgent(ctx context.Context, onWait func(holderPID int)) (unlock func(), err error) {
	f, err := acquire(ctx, filepath.Join(s.locks, agentLock), agentPoll, func(f *os.File) { onWait(readPID(f)) })
	if err != nil {
		return nil, fmt.Errorf("lock the state directory for this agent: %w", err)
	}
	// The pid is only information; an agent must also start with a full disk.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return sync.OnceFunc(func() { release(f) }), nil
}

func readPID(f *os.File) int {
	text, err := io.ReadAll(io.NewSectionReader(f, 0, 32))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return pid
}

// acquire opens and locks a file; onBusy is called once if it has to wait.
//
// Waiters queue by a ticket: a process tries to get the lock only while it has the turn. Otherwise a process that locks
// again right after each unlock, as the agent does in a storm of events, would starve one that polls: with flock alone,
// ADDs ran into LockTimeout. The turn is an open file description lock on the same file (fcntl_locking(2)), which is
// independent of flock.
//
// The file may have been removed between open and lock (removeLock). Then the lock of the new file counts.
func acquire(ctx context.Context, path string, longest time.Duration, onBusy func(*os.File)) (*os.File, error) {
	for first := true; ; first = false {
		// On a slow machine a short deadline may already be over; a free lock is taken nevertheless.
		if err := ctx.Err(); err != nil && (!first || !errors.Is(err, context.DeadlineExceeded)) {
			return nil, fmt.Errorf("%w: %w", bond.ErrLocked, context.Cause(ctx))
		}
		f, err := openLock(path)
		if err != nil {
			return nil, err
		}
		busy := func() {
			if onBusy != nil {
				onBusy(f)
				onBusy = nil
			}
		}
		err = poll(ctx, longest, busy, func() error { return turn(f, unix.F_WRLCK) })
		if err == nil {
			err = poll(ctx, longest, busy, func() error { return flock(f, unix.LOCK_EX) })
			err = errors.Join(err, turn(f, unix.F_UNLCK))
		}
		if err == nil && isAt(f, path) {
			return f, nil
		}
		release(f)
		if err != nil {
			return nil, fmt.Errorf("%s (fuser shows its holder): %w", path, err)
		}
	}
}

// poll calls try until it does not fail with EAGAIN.
//
// A wait in the kernel cannot be ended by a context. A goroutine left in one would take the lock after its caller gave
// up.
func poll(ctx context.Context, longest time.Duration, busy func(), try func() error) error {
	for pause := firstPoll; ; pause = min(2*pause, longest) {
		err := try()
		if !errors.Is(err, unix.EAGAIN) {
			return err
		}
		busy()
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", bond.ErrLocked, context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}

func openLock(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
}

// turn takes (F_WRLCK) or releases (F_UNLCK) the turn to get the lock, without waiting.
func turn(f *os.File, kind int16) error {
	return uninterrupted(func() error {
		return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind})
	})
}

// flock locks (LOCK_EX) or unlocks (LOCK_UN) the file, without waiting.
func flock(f *os.File, how int) error {
	return uninterrupted(func() error { return unix.Flock(int(f.Fd()), how|unix.LOCK_NB) })
}

func uninterrupted(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// release unlocks before it closes: a process that is being started at this moment has a copy of the descriptor until
// it calls exec, and closing ours would leave the file locked.
func release(f *os.File) {
	_ = flock(f, unix.LOCK_UN)
	_ = f.Close()
}
