package store

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// rest waits until the files of s count as unchanged for long enough to be cached.
func rest(t *testing.T, s *Store, names ...string) {
	t.Helper()
	kit.Eventually(t, "the files are old enough", func() bool {
		for _, name := range names {
			if _, certain := versionOf(filepath.Join(s.dir, name)); !certain {
				return false
			}
		}
		return true
	})
}

// TestListReadsOnlyChanges: List reads a record again only if its file has changed, in whatever way, and never returns
// what the file had before.
func TestListReadsOnlyChanges(t *testing.T) {
	s := newStore(t)
	save(t, s, sample(key("c1")))
	save(t, s, sample(key("c2")))
	rest(t, s, "c1@bond0.json", "c2@bond0.json")
	first, _ := list(t, s)
	again, _ := list(t, s)
	for i := range first {
		if first[i].Members[0].VF != again[i].Members[0].VF {
			t.Errorf("%s was read again though its file has not changed", first[i].Key)
		}
	}
	r := sample(key("c1"))
	for n := 1; n <= 20; n++ { // faster than the clock ticks
		r.BondIndex = n
		if n%2 == 0 {
			save(t, s, r)
		} else {
			data, err := encode(r)
			kit.Must(t, err)
			write(t, filepath.Join(s.dir, "c1@bond0.json"), string(data))
		}
		if now, _ := list(t, s); len(now) != 2 || now[0].BondIndex != n {
			t.Fatalf("change %d: %+v", n, now)
		}
	}
	kit.Must(t, s.MarkDeleted(first[1]))
	if now, _ := list(t, s); !now[1].Deleted() || first[1].Deleted() {
		t.Error("a mark is not seen, or has changed an earlier listing")
	}
	kit.Must(t, s.Remove(key("c2")))
	if now, _ := list(t, s); len(now) != 1 || len(s.listed.files) > 1 {
		t.Errorf("%d records after one was removed, %d kept", len(now), len(s.listed.files))
	}
}

// TestUncertainVersion: a file that changed just now may change again within the same tick of the clock.
func TestUncertainVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	began := time.Now()
	write(t, path, "x")
	if _, certain := versionOf(path); certain && time.Since(began) < clockTick {
		t.Error("a file that was written just now is certain")
	}
	if _, certain := versionOf(path + "missing"); certain {
		t.Error("a file that does not exist is certain")
	}
}
