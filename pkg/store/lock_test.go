package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

const eachCounts = 25

// countUp adds n to the record of c1, one by one, under the lock.
func countUp(s *Store, n int) error {
	for range n {
		unlock, err := s.Lock(context.Background(), key("c1"))
		if err != nil {
			return err
		}
		r, err := s.Load(key("c1"))
		if err == nil {
			r.BondIndex++
			err = s.Save(r)
		}
		unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// inProcesses plays a role in four processes and, by here, in four goroutines at once.
func inProcesses(t *testing.T, s *Store, role string, here func() error) {
	t.Helper()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), roleEnv+"="+role, dirEnv+"="+s.dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
		wg.Go(func() {
			if err := here(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestLockExcludes counts in a record from several processes and goroutines at once.
func TestLockExcludes(t *testing.T) {
	s := newStore(t)
	s.lockTimeout = time.Minute // a busy machine is not a failure
	r := sample(key("c1"))
	r.BondIndex = 0
	save(t, s, r)
	inProcesses(t, s, "count", func() error { return countUp(s, eachCounts) })
	if got := load(t, s, key("c1")).BondIndex; got != 8*eachCounts {
		t.Errorf("counted to %d, want %d", got, 8*eachCounts)
	}
}

// TestLockIsFair: a process that locks again right after each unlock does not starve others, even slow ones.
func TestLockIsFair(t *testing.T) {
	s := newStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	var turns atomic.Int64
	held := make(chan struct{})
	wg.Go(func() {
		for ctx.Err() == nil {
			unlock, err := s.Lock(t.Context(), key("c1"))
			if err != nil {
				t.Errorf("the greedy one: %v", err)
				return
			}
			turns.Add(1)
			select {
			case held <- struct{}{}:
			case <-time.After(2 * time.Millisecond): // the work
			case <-ctx.Done():
			}
			<-time.After(2 * time.Millisecond)
			unlock()
		}
	})
	const rounds = 20
	var waited int64
	for range rounds {
		<-held
		before := turns.Load()
		unlock, err := s.Lock(t.Context(), key("c1"))
		if err != nil {
			t.Fatalf("the modest one: %v", err)
		}
		waited += turns.Load() - before
		unlock()
	}
	if waited > 5*rounds {
		t.Errorf("the greedy one had %d turns while the other waited for its %d", waited, rounds)
	}
}

func TestLockDeadline(t *testing.T) {
	s := newStore(t)
	s.lockTimeout = 50 * time.Millisecond
	unlock, err := s.Lock(t.Context(), key("c1"))
	kit.Must(t, err)
	path := s.lockPath(key("c1"))
	begin := time.Now()
	_, err = s.Lock(t.Context(), key("c1"))
	if !errors.Is(err, bond.ErrLocked) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want ErrLocked with the path of the lock", err)
	}
	if took := time.Since(begin); took < s.lockTimeout || took > 5*time.Second {
		t.Errorf("gave up after %s, want %s", took, s.lockTimeout)
	}
	s.lockTimeout = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err = s.Lock(ctx, key("c1")); !errors.Is(err, bond.ErrLocked) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the caller's deadline: got %v", err)
	}
	other, err := s.Lock(t.Context(), key("c2"))
	if err != nil {
		t.Fatalf("another bond: %v", err)
	}
	other()
	unlock()
	again, err := s.Lock(t.Context(), key("c1"))
	if err != nil {
		t.Fatalf("unlocked: %v", err)
	}
	unlock() // a second time, while the lock is another's
	s.lockTimeout = 20 * time.Millisecond
	if _, err := s.Lock(t.Context(), key("c1")); !errors.Is(err, bond.ErrLocked) {
		t.Errorf("unlocked by the former holder: %v", err)
	}
	again()
}

func TestLockOfAKilledProcess(t *testing.T) {
	s := newStore(t)
	holder := startChild(t, "lock", s.dir)
	s.lockTimeout = 30 * time.Millisecond
	if _, err := s.Lock(t.Context(), key("c1")); !errors.Is(err, bond.ErrLocked) {
		t.Fatalf("held by a process: got %v, want ErrLocked", err)
	}
	kill(holder)
	unlock, err := s.Lock(t.Context(), key("c1"))
	if err != nil {
		t.Fatalf("its holder was killed: %v", err)
	}
	unlock()
}

// TestLockIsNotInherited: a process that is started while a lock is held, such as an IPAM plugin, does not hold it
// after the unlock.
func TestLockIsNotInherited(t *testing.T) {
	s := newStore(t)
	unlock, err := s.Lock(t.Context(), key("c1"))
	kit.Must(t, err)
	// Between fork and exec a process has copies of all descriptors, as here.
	forked, err := unix.Dup(descriptorOf(t, s.lockPath(key("c1"))))
	kit.Must(t, err)
	defer func() { _ = unix.Close(forked) }()
	unlock()
	s.lockTimeout = 50 * time.Millisecond
	if unlock, err = s.Lock(t.Context(), key("c1")); err != nil {
		t.Fatal(err)
	}
	defer unlock()
	// After exec it has none, even if the holder dies without unlocking.
	flags, err := unix.FcntlInt(uintptr(descriptorOf(t, s.lockPath(key("c1")))), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags of the lock's descriptor are %#x (%v), want FD_CLOEXEC", flags, err)
	}
}

// descriptorOf finds this process's lowest descriptor that is open on path.
func descriptorOf(t *testing.T, path string) int {
	t.Helper()
	for fd := range 1024 {
		if target, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil && target == path {
			return fd
		}
	}
	t.Fatalf("%s is not open", path)
	return -1
}

func TestLockAgent(t *testing.T) {
	s := newStore(t)
	first := startChild(t, "agent", s.dir)
	ctx, cancel := context.WithCancel(t.Context())
	var pids []int
	_, err := s.LockAgent(ctx, func(pid int) {
		pids = append(pids, pid)
		time.AfterFunc(50*time.Millisecond, cancel)
	})
	if !errors.Is(err, context.Canceled) || len(pids) != 1 || pids[0] != first.Process.Pid {
		t.Fatalf("another agent runs: got %v after %v, want its pid %d once and the context's error", err, pids, first.Process.Pid)
	}
	waiting := make(chan int, 2)
	got := make(chan error, 1)
	var unlock func()
	go func() {
		free, failed := s.LockAgent(t.Context(), func(pid int) { waiting <- pid })
		unlock = free
		got <- failed
	}()
	<-waiting
	kill(first)
	if err = <-got; err != nil {
		t.Fatalf("the other agent was killed: %v", err)
	}
	mustContain(t, filepath.Join(s.locks, "agent.lock"), fmt.Sprintln(os.Getpid()))
	unlock()
	if len(waiting) > 0 {
		t.Error("reported twice that it waits")
	}
	unlock, err = s.LockAgent(t.Context(), func(int) { t.Error("waited for no agent") })
	kit.Must(t, err)
	unlock()
	// An invalid pid file is not an error.
	write(t, filepath.Join(s.locks, "agent.lock"), "not a number")
	unlock, err = s.LockAgent(t.Context(), nil)
	kit.Must(t, err)
	defer unlock()
}

// TestLockAfterTheDeadline: on a slow machine a short deadline may have passed before the first attempt. A free lock is
// then taken nevertheless, and the error for a held one matches ErrLocked.
func TestLockAfterTheDeadline(t *testing.T) {
	s := newStore(t)
	ctx, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	unlock, err := s.Lock(ctx, key("c1"))
	if err != nil {
		t.Fatalf("a free lock: %v", err)
	}
	if _, err := s.Lock(ctx, key("c1")); !errors.Is(err, bond.ErrLocked) {
		t.Errorf("a lock that is held: %v, want ErrLocked", err)
	}
	unlock()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Lock(cancelled, key("c1")); !errors.Is(err, bond.ErrLocked) || !errors.Is(err, context.Canceled) {
		t.Errorf("after the caller has given up: %v, want ErrLocked and Canceled", err)
	}
}
