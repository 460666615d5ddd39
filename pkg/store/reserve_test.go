package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// small is a store on its own disk, with space for some records.
func small(t *testing.T) *Store {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=128k,nr_inodes=64,mode=0700"); err != nil {
		t.Fatalf("mount a small disk (are you root?): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return openStore(t, dir)
}

// fill leaves no space for data.
func fill(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if closed := f.Close(); !errors.Is(err, unix.ENOSPC) || closed != nil {
		t.Fatalf("fill the disk: %v, %v", err, closed)
	}
}

// crowd leaves no space for files.
func crowd(t *testing.T, dir string) {
	t.Helper()
	var err error
	for i := 0; err == nil; i++ {
		err = os.WriteFile(filepath.Join(dir, fmt.Sprintf("filler%d", i)), nil, 0o600)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("fill the disk: %v", err)
	}
}

// TestFullDisk: no record is saved, but existing ones can be deleted.
func TestFullDisk(t *testing.T) {
	for name, full := range map[string]func(*testing.T, string){"data": fill, "files": crowd} {
		t.Run(name, func(t *testing.T) {
			s := small(t)
			for _, id := range []string{"c1", "c2"} {
				save(t, s, sample(key(id)))
			}
			filler := filepath.Join(s.dir, "more")
			kit.Must(t, os.Mkdir(filler, 0o700))
			full(t, filler)
			if err := s.Save(sample(key("c3"))); !errors.Is(err, unix.ENOSPC) {
				t.Errorf("save a new record: %v, want ENOSPC", err)
			}
			if _, err := s.Load(key("c3")); !errors.Is(err, bond.ErrNotFound) {
				t.Errorf("it was saved all the same: %v", err)
			}
			r := load(t, s, key("c1"))
			r.Phase = bond.PhaseDeleting
			for range 3 { // a tombstone is saved several times
				r.Releases++
				save(t, s, r)
			}
			if got := load(t, s, key("c1")); !got.Deleted() || got.Releases != 3 {
				t.Errorf("the tombstone is %+v", got)
			}
			if err := errors.Join(s.Remove(key("c1")), os.RemoveAll(filler)); err != nil {
				t.Error(err)
			}
			save(t, s, sample(key("c3")))
		})
	}
}

// TestReserveIsReleasedWithItsRecord: by Remove, and by List if another process removed it.
func TestReserveIsReleasedWithItsRecord(t *testing.T) {
	s := newStore(t)
	for _, id := range []string{"removed", "vanished", "stays"} {
		save(t, s, sample(key(id)))
	}
	old := time.Now().Add(-2 * tempAge)
	for _, err := range []error{
		s.Remove(key("removed")), os.Remove(filepath.Join(s.dir, recordName(key("vanished")))),
		os.Chtimes(filepath.Join(s.reserved, recordName(key("vanished"))), old, old),
		os.Chtimes(filepath.Join(s.reserved, recordName(key("stays"))), old, old),
	} {
		kit.Must(t, err)
	}
	list(t, s)
	entries, err := os.ReadDir(s.reserved)
	if err != nil || len(entries) != 1 || entries[0].Name() != recordName(key("stays")) {
		t.Errorf("room is kept for %v, %v", entries, err)
	}
}

// TestReserveOfAnEarlierVersion: List moves it; Remove and a full disk need no List before.
func TestReserveOfAnEarlierVersion(t *testing.T) {
	s := newStore(t)
	names := map[string]string{}
	for _, id := range []string{"moved", "removed", "both"} {
		names[id] = recordName(key(id))
		save(t, s, sample(key(id)))
	}
	kit.Must(t, os.Mkdir(s.previousReserve(), 0o700))
	for id, move := range map[string]func(from, to string) error{"moved": os.Rename, "removed": os.Rename, "both": os.Link} {
		kit.Must(t, move(filepath.Join(s.reserved, names[id]), filepath.Join(s.previousReserve(), names[id])))
	}
	has := func(dir string, want ...string) {
		t.Helper()
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != len(want) {
			t.Fatalf("%s has %v, %v; want %v", dir, entries, err, want)
		}
		for i, e := range entries {
			if e.Name() != names[want[i]] {
				t.Errorf("%s has %s, want the reserve of %s", dir, e.Name(), want[i])
			}
		}
	}
	kit.Must(t, s.Remove(key("removed")))
	has(s.previousReserve(), "both", "moved")
	list(t, s)
	has(s.reserved, "both", "moved")
	has(s.previousReserve()) // still there: a plugin of the earlier version may be about to save a record
	past := time.Now().Add(-2 * tempAge)
	kit.Must(t, os.Chtimes(s.previousReserve(), past, past))
	list(t, s)
	if _, err := os.Lstat(s.previousReserve()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the empty directory: %v, want none", err)
	}
	has(s.reserved, "both", "moved")
}
