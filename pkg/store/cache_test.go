package store

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// rest waits until the files of s count as unchanged for long enough to be cached.
func rest(t *testing.T, s *Store, names ...string) {
	t.Helper()
	kit.Eventually(t, "the files are old enough", func() bool {
		for _, name := range names {
			if _, certain, _ := versionOf(filepath.Join(s.dir, name)); !certain {
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
			data, _, err := encode(r)
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
	if now, _ := list(t, s); len(now) != 1 || len(s.cache.files) > 1 {
		t.Errorf("%d records after one was removed, %d kept", len(now), len(s.cache.files))
	}
}

// TestUncertainVersion: a file that changed just now may change again within the same tick of the clock.
func TestUncertainVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	began := time.Now()
	write(t, path, "x")
	if _, certain, _ := versionOf(path); certain && time.Since(began) < clockTick {
		t.Error("a file that was written just now is certain")
	}
	if _, certain, _ := versionOf(path + "missing"); certain {
		t.Error("a file that does not exist is certain")
	}
}

// TestSaveReadsAChangedFile: a record that was loaded is not replaced unread if its file was damaged since.
func TestSaveReadsAChangedFile(t *testing.T) {
	s := newStore(t)
	r := sample(key("c1"))
	save(t, s, r)
	path := filepath.Join(s.dir, recordName(r.Key))
	rest(t, s, recordName(r.Key))
	load(t, s, r.Key)
	data, err := os.ReadFile(path)
	kit.Must(t, err)
	data[len(data)/2] ^= 1 // as long as before
	write(t, path, string(data))
	save(t, s, r)
	mustContain(t, path+".bad-1", string(data))
}

// TestCacheFollowsTheFile: what another process has written is loaded, and what was loaded belongs to its loader.
func TestCacheFollowsTheFile(t *testing.T) {
	s := newStore(t)
	other := openStore(t, s.dir)
	r := sample(key("c1"))
	save(t, s, r)
	loaded := load(t, s, r.Key)
	loaded.Members[0].Name, loaded.Spec.Options[bond.OptMode] = "changed", "changed"
	if again := load(t, s, r.Key); again.Members[0].Name == "changed" || again.Spec.Options[bond.OptMode] == "changed" {
		t.Error("a loaded record is shared with the next load")
	}
	r.Members[0].Name = "changed" // after Save
	if again := load(t, s, r.Key); again.Members[0].Name == "changed" {
		t.Error("a saved record is shared with the next load")
	}
	changed := load(t, other, r.Key)
	changed.Releases = 7
	save(t, other, changed)
	if again := load(t, s, r.Key); again.Releases != 7 {
		t.Errorf("loaded %d releases after another process saved 7", again.Releases)
	}
	path := filepath.Join(s.dir, recordName(r.Key))
	data, err := os.ReadFile(path)
	kit.Must(t, err)
	write(t, path, strings.Replace(string(data), `"releases":7`, `"releases":8`, 1)) // as long as before
	if _, err = s.Load(r.Key); err == nil {
		t.Error("a changed byte is not noticed")
	}
	kit.Must(t, os.Remove(path))
	if _, err = s.Load(r.Key); err == nil {
		t.Error("a removed record is loaded")
	}
	if len(s.cache.files) != 0 {
		t.Errorf("the cache keeps %d records of a removed file", len(s.cache.files))
	}
}

// TestSavedIsWhatOthersLoad: what a process has of a record that it saved is what another one loads.
func TestSavedIsWhatOthersLoad(t *testing.T) {
	s := newStore(t)
	for name, change := range map[string]func(*bond.Record){
		"plain":         func(*bond.Record) {},
		"not UTF-8":     func(r *bond.Record) { r.Warnings = []string{"link \xff"} },
		"spaced config": func(r *bond.Record) { r.CNI.Config = []byte("{ \"type\":\n\"bond<\" }") },
	} {
		t.Run(name, func(t *testing.T) {
			r := sample(key("c1"))
			change(r)
			save(t, s, r)
			cached, err := s.Load(r.Key)
			kit.Must(t, err)
			other, err := Open(s.dir)
			kit.Must(t, err)
			loaded, err := other.Load(r.Key)
			kit.Must(t, err)
			if !reflect.DeepEqual(cached, loaded) {
				t.Errorf("kept %+v\nloaded %+v", cached, loaded)
			}
		})
	}
}

// TestSavedHere: a record that another process saved, or that was edited, is not what this one has saved. A touched file is.
func TestSavedHere(t *testing.T) {
	s := newStore(t)
	k := key("c1")
	path := filepath.Join(s.dir, recordName(k))
	saved := func() bool { list(t, s); return s.SavedHere(k) }
	save(t, s, sample(k))
	if !saved() {
		t.Error("saved, and not known")
	}
	kit.Must(t, os.Chmod(path, 0o600))
	if !saved() {
		t.Error("its mode was changed, and it is not known")
	}
	content, err := os.ReadFile(path)
	kit.Must(t, err)
	edited := unsummed(strings.Replace(string(content), `"count":0`, `"count":7`, 1))
	write(t, path, edited)
	if saved() {
		t.Error("edited, and still what was saved here")
	}
	save(t, s, sample(k))
	other, err := Open(s.dir)
	kit.Must(t, err)
	save(t, other, sample(k))
	if saved() {
		t.Error("saved by another process, and counted as saved here")
	}
	if s.SavedHere(key("c2")) {
		t.Error("a record that does not exist was saved here")
	}
}
