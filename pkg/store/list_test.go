package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

func list(t testing.TB, s *Store) ([]*bond.Record, []*BadRecord) {
	t.Helper()
	records, problems, err := s.List(t.Context())
	kit.Must(t, err)
	return records, problems
}

// fileOf is the content of the file of sample(key(id)).
func fileOf(t testing.TB, id string) string {
	t.Helper()
	data, _, err := encode(sample(key(id)))
	kit.Must(t, err)
	return string(data)
}

// unsummed is the content of a file without its checksum, as older versions write it.
func unsummed(content string) string {
	return regexp.MustCompile(`"sha256":"[0-9a-f]+",`).ReplaceAllString(content, "")
}

// damages are contents that no program can mistake for the record of c1@bond0.
func damages(t testing.TB) map[string]string {
	good := unsummed(fileOf(t, "c1"))
	return map[string]string{
		"empty":                  "",
		"one byte":               "{",
		"cut short":              good[:len(good)/2],
		"zeros":                  strings.Repeat("\x00", 4096),
		"followed by rubbish":    good + "x",
		"two records":            good + good,
		"not an object":          `[]`,
		"null":                   `null`,
		"no version":             `{"record":{}}`,
		"version 0":              strings.Replace(good, `"version":1`, `"version":0`, 1),
		"version -1":             strings.Replace(good, `"version":1`, `"version":-1`, 1),
		"version is text":        strings.Replace(good, `"version":1`, `"version":"1"`, 1),
		"no record":              `{"version":1}`,
		"record null":            `{"version":1,"record":null}`,
		"record is text":         `{"version":1,"record":"x"}`,
		"wrong type of field":    strings.Replace(good, `"bondIndex":7`, `"bondIndex":"7"`, 1),
		"unknown phase":          strings.Replace(good, `"phase":"ready"`, `"phase":"Ready"`, 1),
		"PCI address with a way": strings.Replace(good, `0000:01:10.0`, `../../0000`, 1),
		"no sandbox":             strings.Replace(good, `4026532246`, `0`, 1),
		"bad address":            strings.Replace(good, `10.0.0.2/24`, `10.0.0.2/33`, 1),
		"record of another bond": fileOf(t, "c2"),
		"another VF":             strings.Replace(fileOf(t, "c1"), `0000:01:10.0`, `0000:01:10.1`, 1),
		"deep":                   `{"version":1,"record":` + strings.Repeat("[", 100000),
		"huge":                   good + strings.Repeat(" ", maxSize),
	}
}

// TestDamaged checks invariant 10 for each kind of damage and each operation.
func TestDamaged(t *testing.T) {
	const bad = "c1@bond0.json.bad-1"
	for name, content := range damages(t) {
		t.Run(name, func(t *testing.T) {
			fresh := func() (*Store, string) {
				s := newStore(t)
				save(t, s, sample(key("c0")))
				save(t, s, sample(key("c3")))
				path := filepath.Join(s.dir, "c1@bond0.json")
				write(t, path, content)
				return s, path
			}
			s, path := fresh()
			_, err := s.Load(key("c1"))
			var p *BadRecord
			if !errors.Is(err, bond.ErrNotFound) || !errors.Is(err, ErrDamaged) || !errors.As(err, &p) || p.Key != key("c1") || p.Path != path {
				t.Errorf("Load: got %v, want the damaged file as a Problem", err)
			}
			mustContain(t, path, content)
			for i := range 2 { // reported again by the second List
				records, problems := list(t, s)
				if got := keysOf(records); !slices.Equal(got, []bond.Key{key("c0"), key("c3")}) {
					t.Errorf("List %d: records of %v", i, got)
				}
				if len(problems) != 1 || problems[0].Key != key("c1") || problems[0].Path != filepath.Join(s.dir, bad) || !errors.Is(problems[0], ErrDamaged) {
					t.Errorf("List %d: problems are %v", i, problems)
				}
			}
			mustContain(t, filepath.Join(s.dir, bad), content)

			s, _ = fresh()
			save(t, s, sample(key("c1")))
			load(t, s, key("c1"))
			mustContain(t, filepath.Join(s.dir, bad), content)

			s, _ = fresh()
			if err := errors.Join(s.Remove(key("c1")), s.Remove(key("c1"))); err != nil {
				t.Errorf("Remove: %v", err)
			}
			mustContain(t, filepath.Join(s.dir, bad), content)
		})
	}
}

func keysOf(records []*bond.Record) []bond.Key {
	var keys []bond.Key
	for _, r := range records {
		keys = append(keys, r.Key)
	}
	return keys
}

func mustContain(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s has %.80q (%v), want %.80q", path, got, err, want)
	}
}

// TestNewer: two versions share the directory while one replaces the other.
func TestNewer(t *testing.T) {
	for name, content := range map[string]string{
		"same shape":  strings.Replace(fileOf(t, "c1"), `"version":1`, `"version":2`, 1),
		"other shape": `{"version":7,"bonds":[1,2],"record":"elsewhere"}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			path := filepath.Join(s.dir, "c1@bond0.json")
			write(t, path, content)
			if _, err := s.Load(key("c1")); !errors.Is(err, bond.ErrNotFound) || !errors.Is(err, ErrNewer) {
				t.Errorf("Load: got %v, want ErrNotFound and ErrNewer", err)
			}
			records, problems := list(t, s)
			if len(records) != 0 || len(problems) != 1 || problems[0].Path != path || problems[0].Key != key("c1") || !errors.Is(problems[0], ErrNewer) {
				t.Errorf("List: %v, %v", records, problems)
			}
			if err := s.Save(sample(key("c1"))); !errors.Is(err, bond.ErrUnsupported) || !errors.Is(err, ErrNewer) {
				t.Errorf("Save: got %v, want ErrUnsupported", err)
			}
			if err := s.Remove(key("c1")); err != nil {
				t.Errorf("Remove: %v", err)
			}
			mustContain(t, path, content)
		})
	}
}

// TestUnknownFields: a field that a later program adds without a new version is skipped.
func TestUnknownFields(t *testing.T) {
	s := newStore(t)
	write(t, filepath.Join(s.dir, "c1@bond0.json"), unsummed(strings.Replace(fileOf(t, "c1"), `"bondIndex":7`, `"bondIndex":7,"later":{"a":[1]}`, 1)))
	if got := load(t, s, key("c1")); got.BondIndex != 7 {
		t.Errorf("got %+v", got)
	}
}

// TestStrangeFiles: names and kinds of files that no Store creates.
func TestStrangeFiles(t *testing.T) {
	s := newStore(t)
	at := func(name string) string { return filepath.Join(s.dir, name) }
	write(t, at("noat.json"), fileOf(t, "c1"))
	write(t, at(".json"), "")
	write(t, at("a@b@c@d@e@f@g@h.json"), "x")
	write(t, at("README"), "left alone")
	write(t, at("elsewhere"), fileOf(t, "link"))
	write(t, at("c9@bond0.json.bak"), fileOf(t, "c9"))
	if err := errors.Join(
		os.Mkdir(at("dir@bond0.json"), 0o700),
		unix.Mkfifo(at("fifo@bond0.json"), 0o600),
		os.Symlink("elsewhere", at("link@bond0.json")),
	); err != nil {
		t.Fatal(err)
	}
	records, problems := list(t, s)
	var got []string
	for _, p := range problems {
		if !errors.Is(p, ErrDamaged) {
			t.Errorf("%v: not ErrDamaged", p)
		}
		got = append(got, filepath.Base(p.Path)+" of "+p.Key.String())
	}
	want := []string{
		".json.bad-1 of @", "a@b@c@d@e@f@g@h.json.bad-1 of a@b@c@d@e@f@g@h", "dir@bond0.json.bad-1 of dir@bond0",
		"fifo@bond0.json.bad-1 of fifo@bond0", "link@bond0.json.bad-1 of link@bond0", "noat.json.bad-1 of @",
	}
	if len(records) > 0 || !slices.Equal(got, want) {
		t.Errorf("records %v, problems\n%q, want\n%q", records, got, want)
	}
	if keys, err := s.Keys(); err != nil || len(keys) > 0 {
		t.Errorf("Keys after that: %v, %v", keys, err)
	}
	mustContain(t, at("README"), "left alone")
	mustContain(t, at("c9@bond0.json.bak"), fileOf(t, "c9"))
}

func TestQuarantineOverwritesNothing(t *testing.T) {
	s := newStore(t)
	for i := 1; i <= 3; i++ {
		write(t, filepath.Join(s.dir, "c1@bond0.json"), fmt.Sprint("damage ", i))
		if _, problems := list(t, s); len(problems) != i {
			t.Fatalf("after %d damages: %v", i, problems)
		}
	}
	for i := 1; i <= 3; i++ {
		mustContain(t, filepath.Join(s.dir, fmt.Sprintf("c1@bond0.json.bad-%d", i)), fmt.Sprint("damage ", i))
	}
	write(t, filepath.Join(s.dir, "c1@bond0.json.bad-4"), fileOf(t, "c1"))
	_, problems := list(t, s)
	if len(problems) != 4 || !strings.Contains(problems[3].Error(), "move it back") {
		t.Errorf("a readable one set aside: %v", problems)
	}
}

// TestListLeavesLockedDamage: the holder of the bond's lock may be about to replace the file.
func TestListLeavesLockedDamage(t *testing.T) {
	s := newStore(t)
	path := filepath.Join(s.dir, "c1@bond0.json")
	write(t, path, "damage")
	unlock, err := s.Lock(t.Context(), key("c1"))
	kit.Must(t, err)
	if _, problems := list(t, s); len(problems) != 1 || problems[0].Path != path {
		t.Errorf("locked: problems are %v", problems)
	}
	mustContain(t, path, "damage")
	unlock()
	if _, problems := list(t, s); len(problems) != 1 || problems[0].Path != path+".bad-1" {
		t.Errorf("unlocked: problems are %v", problems)
	}
}

func TestKeyOf(t *testing.T) {
	long := bond.Key{ContainerID: "c1", IfName: "a@b.json"}
	for name, want := range map[string]bond.Key{
		"c1@bond0.json": key("c1"), recordName(long): long,
		"c1@bond0": {}, "c1@bond0.json.bad-1": {}, "c1.json": {}, ".json": {}, "@.json": {}, "locks": {}, "..@bond0.json": {}, "c1@a/b.json": {},
	} {
		if got, ok := KeyOf(name); got != want || ok != (want != bond.Key{}) {
			t.Errorf("%s: got %v, %t; want %v", name, got, ok, want)
		}
	}
}

func TestListEnds(t *testing.T) {
	s := newStore(t)
	save(t, s, sample(key("c1")))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.List(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	kit.Must(t, os.RemoveAll(s.dir))
	if _, _, err := s.List(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: got %v", err)
	}
	if _, err := s.Keys(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: got %v", err)
	}
}

func TestListSweeps(t *testing.T) {
	s := newStore(t)
	dead, alive := filepath.Join(s.tmp, "dead"), filepath.Join(s.tmp, "alive")
	write(t, dead, "x")
	write(t, alive, "x")
	past := time.Now().Add(-tempAge - time.Minute)
	kit.Must(t, os.Chtimes(dead, past, past))
	list(t, s)
	if _, err := os.Stat(dead); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an old temporary file is still there (%v)", err)
	}
	mustContain(t, alive, "x")
}

// TestListMissesNothing: records that are saved all the time are in every listing. It runs on tmpfs, where a listing in
// several calls misses some of them nearly every time.
func TestListMissesNothing(t *testing.T) {
	const bonds, rounds = 300, 100
	dir := t.TempDir()
	kit.MountTmpfs(t, dir)
	s := openStore(t, dir)
	names := make([]string, bonds)
	for i := range names {
		names[i] = recordName(key(fmt.Sprintf("%064d", i)))
		write(t, filepath.Join(s.dir, names[i]), "x")
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			if err := s.put(names[i*7%bonds], []byte("x")); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range rounds {
		if keys, err := s.Keys(); err != nil || len(keys) != bonds {
			t.Fatalf("%d bonds (%v), want %d", len(keys), err, bonds)
		}
	}
}

// TestSnapshotOfManyNames needs more than the first buffer.
func TestSnapshotOfManyNames(t *testing.T) {
	dir := t.TempDir()
	const n = 2000
	for i := range n {
		write(t, filepath.Join(dir, fmt.Sprintf("%0200d", i)), "")
	}
	names, err := snapshot(dir)
	if err != nil || len(names) != n || names[0] != strings.Repeat("0", 200) || !slices.IsSorted(names) {
		t.Errorf("%d names (%v), want %d", len(names), err, n)
	}
}
