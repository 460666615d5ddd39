package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// small is a store on a disk of its own, with room for some records.
func small(t *testing.T) *Store {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=128k,mode=0700"); err != nil {
		t.Fatalf("mount a small disk (are you root?): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return openStore(t, dir)
}

// fill leaves no room.
func fill(t *testing.T, s *Store) (remove func()) {
	t.Helper()
	path := filepath.Join(s.dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if closed := f.Close(); !errors.Is(err, unix.ENOSPC) || closed != nil {
		t.Fatalf("fill the disk: %v, %v", err, closed)
	}
	return func() { _ = os.Remove(path) }
}

// TestFullDisk: no record is saved, those that stand can be ended.
func TestFullDisk(t *testing.T) {
	s := small(t)
	for _, id := range []string{"c1", "c2"} {
		save(t, s, sample(key(id)))
	}
	remove := fill(t, s)
	if err := s.Save(sample(key("c3"))); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("save a new record: %v, want ENOSPC", err)
	}
	if _, err := s.Load(key("c3")); !errors.Is(err, bond.ErrNotFound) {
		t.Errorf("it was saved all the same: %v", err)
	}
	r := load(t, s, key("c1"))
	r.Phase = bond.PhaseDeleting
	for range 3 { // a tombstone is saved more than once
		r.Releases++
		save(t, s, r)
	}
	if got := load(t, s, key("c1")); !got.Deleted() || got.Releases != 3 {
		t.Errorf("the tombstone is %+v", got)
	}
	if err := s.Remove(key("c1")); err != nil {
		t.Error(err)
	}
	remove()
	save(t, s, sample(key("c3")))
}

// TestSpareRoomGoesWithItsRecord: by Remove, and by List where somebody else removed it.
func TestSpareRoomGoesWithItsRecord(t *testing.T) {
	s := newStore(t)
	for _, id := range []string{"removed", "vanished", "stays"} {
		save(t, s, sample(key(id)))
	}
	old := time.Now().Add(-2 * tempAge)
	for _, err := range []error{
		s.Remove(key("removed")), os.Remove(filepath.Join(s.dir, recordName(key("vanished")))),
		os.Chtimes(filepath.Join(s.spare, recordName(key("vanished"))), old, old),
		os.Chtimes(filepath.Join(s.spare, recordName(key("stays"))), old, old),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	list(t, s)
	entries, err := os.ReadDir(s.spare)
	if err != nil || len(entries) != 1 || entries[0].Name() != recordName(key("stays")) {
		t.Errorf("room is kept for %v, %v", entries, err)
	}
}
