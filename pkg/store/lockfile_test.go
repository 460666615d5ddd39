package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// files counts all files below the state directory.
func files(t testing.TB, s *Store) int {
	t.Helper()
	n := 0
	err := filepath.WalkDir(s.dir, func(string, os.DirEntry, error) error { n++; return nil })
	kit.Must(t, err)
	return n
}

// lives is the number of bonds that are made and removed in tests: 1,000, or BONDKEEPER_LIVES.
func lives(t testing.TB) int {
	t.Helper()
	text := os.Getenv("BONDKEEPER_LIVES")
	if text == "" {
		return 1000
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("BONDKEEPER_LIVES: %v", err)
	}
	return n
}

// TestLivesLeaveNoFiles: bonds that were made and removed, and ADDs that failed, leave no file and no directory.
func TestLivesLeaveNoFiles(t *testing.T) {
	dir := t.TempDir()
	kit.MountTmpfs(t, dir)
	s := openStore(t, dir)
	start := files(t, s)
	locked := func(k bond.Key, what func() error) {
		unlock, err := s.Lock(t.Context(), k)
		kit.Must(t, err)
		defer unlock()
		kit.Must(t, what())
	}
	lives := lives(t)
	for i := range lives {
		k := key(fmt.Sprintf("%064d", i))
		verb := bond.Key{ContainerID: "add-" + k.ContainerID, IfName: k.IfName}
		locked(verb, func() error { // an ADD that fails before it has a record
			locked(k, func() error { return nil })
			return nil
		})
		r := sample(k)
		locked(verb, func() error {
			locked(k, func() error { return s.Save(r) })
			return nil
		})
		r.Phase = bond.PhaseDeleting
		locked(k, func() error { return errors.Join(s.Save(r), s.Remove(k)) })
	}
	if end := files(t, s); end != start {
		t.Errorf("%d files after %d failed ADDs and %d lives, %d before", end, lives, lives, start)
	}
	t.Logf("%d failed ADDs and %d lives left no file", lives, lives)
}

// countInFile adds n to the number in a file, one by one, under the lock of a bond without a record, so that the lock
// file is removed and recreated repeatedly.
func countInFile(s *Store, n int) error {
	path := filepath.Join(s.tmp, "count")
	for range n {
		unlock, err := s.Lock(context.Background(), key("c1"))
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err == nil {
			var count int
			count, err = strconv.Atoi(string(data))
			err = errors.Join(err, os.WriteFile(path, []byte(strconv.Itoa(count+1)), 0o600))
		}
		unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// TestLockExcludesWhileFilesAreRemoved: several processes and goroutines take one lock whose file is removed whenever
// none of them waits. One more removes the file as the agent's sweep does.
func TestLockExcludesWhileFilesAreRemoved(t *testing.T) {
	s := newStore(t)
	s.lockTimeout = time.Minute // a busy machine is not a failure
	write(t, filepath.Join(s.tmp, "count"), "0")
	const each = 200
	ctx, cancel := context.WithCancel(t.Context())
	var sweeper sync.WaitGroup
	sweeper.Go(func() {
		for ctx.Err() == nil {
			s.removeLock(key("c1"))
		}
	})
	inProcesses(t, s, "countInFile", func() error { return countInFile(s, each) })
	cancel()
	sweeper.Wait()
	mustContain(t, filepath.Join(s.tmp, "count"), strconv.Itoa(4*(each+eachCounts)))
	mustBeEmpty(t, s.locks)
}

// TestLockOfARemovedFile: a process that waits for a lock whose file is removed does not take the lock of that file.
func TestLockOfARemovedFile(t *testing.T) {
	s := newStore(t)
	f, err := openLock(s.lockPath(key("c1")))
	kit.Must(t, err)
	defer release(f)
	unlock, err := s.Lock(t.Context(), key("c1"))
	kit.Must(t, err)
	unlock()
	if err := tryAcquire(f); !errors.Is(err, errUnlinked) {
		t.Errorf("the lock of a removed file: got %v, want errUnlinked", err)
	}
}

// TestWaitersThatGiveUpLeaveNoFile: when holder and waiters end at the same moment, one of them removes the file.
func TestWaitersThatGiveUpLeaveNoFile(t *testing.T) {
	s := newStore(t)
	for range 200 {
		unlock, err := s.Lock(t.Context(), key("c1"))
		kit.Must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if got, err := s.Lock(ctx, key("c1")); err == nil {
					got()
				}
			})
		}
		all.Go(cancel)
		all.Go(unlock)
		all.Wait()
		mustBeEmpty(t, s.locks)
	}
}

// TestBondRetainsItsLockFile: while there is a record, no unlock removes the file.
func TestBondRetainsItsLockFile(t *testing.T) {
	s := newStore(t)
	save(t, s, sample(key("c1")))
	unlock, err := s.Lock(t.Context(), key("c1"))
	kit.Must(t, err)
	unlock()
	mustContain(t, s.lockPath(key("c1")), "")
}

// TestSweepLocks: leftovers of killed processes and older versions are removed, and nothing else.
func TestSweepLocks(t *testing.T) {
	s := newStore(t)
	save(t, s, sample(key("recorded")))
	for _, id := range []string{"left", "add-left", "del-left", "recorded", "new", "held", "future"} {
		write(t, s.lockPath(key(id)), "")
	}
	write(t, filepath.Join(s.locks, agentLock), "1\n")
	write(t, filepath.Join(s.locks, "README"), "left alone")
	for _, id := range []string{"left", "add-left", "del-left", "recorded", "held"} {
		touch(t, s.lockPath(key(id)), -2*tempAge)
	}
	touch(t, s.lockPath(key("future")), 365*24*time.Hour)
	for _, name := range []string{agentLock, "README"} {
		touch(t, filepath.Join(s.locks, name), -2*tempAge)
	}
	unlock, err := s.Lock(t.Context(), key("held"))
	kit.Must(t, err)
	defer unlock()
	if err = s.SweepLocks(t.Context()); err != nil {
		t.Fatal(err)
	}
	names, err := snapshot(s.locks)
	kit.Must(t, err)
	want := []string{"README", "agent.lock", "held@bond0.lock", "new@bond0.lock", "recorded@bond0.lock"}
	if fmt.Sprint(names) != fmt.Sprint(want) {
		t.Errorf("left are %v, want %v", names, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err = s.SweepLocks(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}

// touch sets a file's time to so long after now.
func touch(t *testing.T, path string, after time.Duration) {
	t.Helper()
	at := unix.NsecToTimespec(time.Now().Add(after).UnixNano())
	kit.Must(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{at, at}, 0))
}
