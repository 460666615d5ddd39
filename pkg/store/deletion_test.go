package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

func marks(t *testing.T, s *Store) int {
	t.Helper()
	entries, err := os.ReadDir(s.deletions)
	kit.Must(t, err)
	return len(entries)
}

// TestMarkDeleted: a mark makes a record a tombstone without the bond's lock, whatever the lock's holder saves, and no
// other record.
func TestMarkDeleted(t *testing.T) {
	s := newStore(t)
	must := func(err error) {
		t.Helper()
		kit.Must(t, err)
	}
	r := sample(key("c.1"))
	must(s.Save(r))
	for range 2 {
		must(s.MarkDeleted(r))
	}
	must(s.Save(r)) // by the lock's holder, which has not checked for a mark
	if !s.MarkedDeleted(r) || r.Deleted() {
		t.Error("the mark is not seen, or the loaded record was changed")
	}
	now, err := s.Load(r.Key)
	must(err)
	records, _, err := s.List(t.Context())
	must(err)
	if !now.Deleted() || len(records) != 1 || !records[0].Deleted() {
		t.Errorf("phases %s and %v", now.Phase, records)
	}
	next := r.Clone()
	next.Created = r.Created.Add(time.Nanosecond)
	must(s.Save(next))
	if now, err := s.Load(r.Key); err != nil || now.Deleted() || s.MarkedDeleted(next) {
		t.Errorf("the record of another ADD: %+v, %v", now, err)
	}
	must(s.Save(r))
	must(s.Remove(r.Key))
	must(s.MarkDeleted(r)) // a record that was removed
	if _, err := s.Load(r.Key); !errors.Is(err, bond.ErrNotFound) || marks(t, s) != 0 {
		t.Errorf("%v, %d marks left", err, marks(t, s))
	}
}

// TestSweepMarks: marks left by killed processes are removed, marks of existing records are not.
func TestSweepMarks(t *testing.T) {
	s := newStore(t)
	long := time.Now().Add(-2 * tempAge)
	r, other := sample(key("c")), sample(key("d"))
	earlier := r.Clone()
	earlier.Created = r.Created.Add(-time.Hour)
	save(t, s, r)
	for _, name := range []string{markName(r), markName(other), markName(earlier)} {
		path := filepath.Join(s.deletions, name)
		kit.Must(t, os.WriteFile(path, nil, 0o600))
		kit.Must(t, os.Chtimes(path, long, long))
	}
	records, _, err := s.List(t.Context())
	if err != nil || len(records) != 1 || !records[0].Deleted() || marks(t, s) != 1 || !s.MarkedDeleted(r) {
		t.Errorf("%v, %v, %d marks", records, err, marks(t, s))
	}
}
