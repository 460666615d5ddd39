package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/bond/bondtest"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// FuzzDecode writes arbitrary bytes to a record's file. Load and List return a record that is the same after it was
// saved and loaded again, or a BadRecord; and the bytes are still there.
func FuzzDecode(f *testing.F) {
	for _, content := range damages(f) {
		if len(content) < 8<<10 { // large ones take the fuzzer's time and teach it nothing
			f.Add([]byte(content))
		}
	}
	good := fileOf(f, "c1")
	f.Add([]byte(good))
	f.Add([]byte(unsummed(good)))
	f.Add([]byte(strings.Replace(good, `"version":1`, `"version":2`, 1)))
	f.Add([]byte(`{"version":` + strings.Repeat("9", 5000) + `}`))
	s := newStore(f)
	k := key("c1")
	path := filepath.Join(s.dir, recordName(k))
	f.Fuzz(func(t *testing.T, content []byte) {
		write(t, path, string(content))
		r, err := s.Load(k)
		records, problems := list(t, s)
		if err != nil {
			if !errors.Is(err, bond.ErrNotFound) || len(records) != 0 || len(problems) != 1 {
				t.Fatalf("Load: %v; List: %v, %v", err, records, problems)
			}
			bondtest.ErrorText(t, err)
			path = problems[0].Path
		}
		got, readErr := os.ReadFile(path)
		if readErr != nil || !bytes.Equal(got, content) {
			t.Fatalf("the file has %q (%v), it had %q", got, readErr, content)
		}
		if removed := os.Remove(path); removed != nil {
			t.Fatal(removed)
		}
		path = filepath.Join(s.dir, recordName(k))
		if err != nil {
			return
		}
		if len(records) != 1 || len(problems) != 0 || r.Key != k || r.Validate() != nil {
			t.Fatalf("Load: %+v; List: %v, %v", r, records, problems)
		}
		save(t, s, r)
		if diff := cmp.Diff(r, load(t, s, k), sameAddrs); diff != "" {
			t.Fatalf("saved and read back differently:\n%s", diff)
		}
	})
}

// FuzzFileNames creates a file of any name in the state directory, and one in the directory of deletion marks. Neither
// prevents reading a record, makes one a tombstone, or is followed out of its directory.
func FuzzFileNames(f *testing.F) {
	s := newStore(f)
	r := sample(key("c1"))
	stamp := "." + r.Created.UTC().Format(createdFormat)
	other := key("c2").String()
	for _, name := range []string{
		"x.json", "c2@b.json.bad-1", "@.json", other + ".json", other + stamp, "..json", stamp, key("c1").String() + ".20260102T150405.000000000",
		"\x1b[2J@b.json", "\xff", strings.Repeat("a", 255), key("c1").String() + stamp + "x",
	} {
		f.Add(name)
	}
	long := time.Now().Add(-2 * tempAge)
	f.Fuzz(func(t *testing.T, name string) {
		if name == recordName(r.Key) || name == markName(r) {
			return
		}
		save(t, s, r)
		var made []string
		for _, dir := range []string{s.dir, s.deletions} {
			path := filepath.Join(dir, name)
			if filepath.Dir(path) != dir || os.WriteFile(path, nil, 0o600) != nil {
				continue // not a file name, or a directory of the store
			}
			kit.Must(t, os.Chtimes(path, long, long))
			made = append(made, path)
		}
		records, problems := list(t, s)
		if len(records) != 1 || records[0].Key != r.Key || records[0].Deleted() || len(problems) > 1 {
			t.Fatalf("beside a file %q: records %v, problems %v", name, records, problems)
		}
		for _, p := range problems {
			bondtest.ErrorText(t, p)
			made = append(made, p.Path)
		}
		if got := load(t, s, r.Key); got.Deleted() || s.MarkedDeleted(r) {
			t.Fatalf("a file %q makes the record a tombstone", name)
		}
		for _, path := range made {
			_ = os.Remove(path)
		}
	})
}

const benchBonds = 256

func filled(b *testing.B) *Store {
	s := newStore(b)
	for i := range benchBonds {
		save(b, s, sample(key(fmt.Sprintf("%064d", i))))
	}
	b.ReportAllocs()
	return s
}

func BenchmarkSave(b *testing.B) {
	s := filled(b)
	r := sample(key(fmt.Sprintf("%064d", 1)))
	for b.Loop() {
		kit.Must(b, s.Save(r))
	}
}

func BenchmarkLoad(b *testing.B) {
	s := filled(b)
	for b.Loop() {
		if _, err := s.Load(key(fmt.Sprintf("%064d", 1))); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkList256(b *testing.B) {
	s := filled(b)
	for b.Loop() {
		if records, problems, err := s.List(b.Context()); err != nil || len(records) != benchBonds || len(problems) != 0 {
			b.Fatal(len(records), problems, err)
		}
	}
}

func BenchmarkKeys256(b *testing.B) {
	s := filled(b)
	for b.Loop() {
		if keys, err := s.Keys(); err != nil || len(keys) != benchBonds {
			b.Fatal(len(keys), err)
		}
	}
}

func BenchmarkLock(b *testing.B) {
	s := newStore(b)
	b.ReportAllocs()
	for b.Loop() {
		unlock, err := s.Lock(b.Context(), key("c1"))
		kit.Must(b, err)
		unlock()
	}
}
