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
	// bondPoll is the longest pause between two attempts to get a bond's lock. What holds
	// one works for milliseconds, or for seconds when a driver is slow.
	bondPoll = 10 * time.Millisecond
	// agentPoll is the same for the agent's lock, which is held for as long as an agent runs.
	agentPoll = 500 * time.Millisecond
)

// Lock takes the lock of one bond, against all goroutines and processes, the caller
// included. It waits until ctx ends or LockTimeout passes; the error then matches
// bond.ErrLocked, and ctx's cause if that was it. unlock may be called twice. The kernel
// frees the lock of a process that dies.
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

// tryLock is Lock without waiting.
func (s *Store) tryLock(k bond.Key) (unlock func(), err error) {
	f, err := openLock(s.lockPath(k))
	if err != nil {
		return nil, err
	}
	if err := tryAcquire(f); err != nil {
		release(f)
		s.removeLock(k) // the attempt may have been in the way of the holder's
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

// LockAgent takes the lock that makes its holder the node's only agent and waits for it
// as long as ctx lasts. When another agent has it, onWait is called, once, before the
// wait, with that agent's pid as it sees itself (each container counts its own); 0 if
// that is not known.
func (s *Store) LockAgent(ctx context.Context, onWait func(holderPID int)) (unlock func(), err error) {
	f, err := acquire(ctx, filepath.Join(s.locks, agentLock), agentPoll, func(f *os.File) { onWait(readPID(f)) })
	if err != nil {
		return nil, fmt.Errorf("lock the state directory for this agent: %w", err)
	}
	// The pid only helps a person; an agent must start on a full directory, too.
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

// acquire opens and locks a file; onBusy is called once if that needs a wait.
//
// Who waits is first in line or queues for that place, and nobody gets the lock without
// having been first in line. Otherwise a process that takes the lock again right after
// each unlock, as the agent does in a storm of events, keeps it from one that can only
// try now and then: with flock alone, ADDs ran into LockTimeout. The place is an open file
// description lock on the same file (fcntl_locking(2)), which flock does not see.
//
// The file may have been removed between open and lock (removeLock). Then the lock of the new file counts.
func acquire(ctx context.Context, path string, longest time.Duration, onBusy func(*os.File)) (*os.File, error) {
	for first := true; ; first = false {
		// On a slow machine a short deadline may have passed already, which does not make a free lock a held one.
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
		err = poll(ctx, longest, busy, func() error { return place(f, unix.F_WRLCK) })
		if err == nil {
			err = poll(ctx, longest, busy, func() error { return flock(f, unix.LOCK_EX) })
			err = errors.Join(err, place(f, unix.F_UNLCK))
		}
		if err == nil && isAt(f, path) {
			return f, nil
		}
		release(f)
		if err != nil {
			return nil, fmt.Errorf("%s (fuser tells who holds it): %w", path, err)
		}
	}
}

// poll calls try until that is no longer refused because somebody else has the lock.
//
// A wait in the kernel cannot be ended by a context, and a goroutine left behind in one
// would take the lock after everybody had stopped waiting for it.
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

// place takes (F_WRLCK) or leaves (F_UNLCK) the first place in line, without waiting.
func place(f *os.File, kind int16) error {
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

// release unlocks before it closes: a process that is being started at this moment has
// a copy of the descriptor until it calls exec, and closing ours would leave it locked.
func release(f *os.File) {
	_ = flock(f, unix.LOCK_UN)
	_ = f.Close()
}
