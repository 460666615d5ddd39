package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestEveryBit flips each bit of a record file, and cuts the file at each byte. The result is the same record, or no
// record.
func TestEveryBit(t *testing.T) {
	content := []byte(fileOf(t, "c1"))
	name := recordName(key("c1"))
	want := sample(key("c1"))
	intact := 0
	for bit := range 8 * len(content) {
		flipped := append([]byte(nil), content...)
		flipped[bit/8] ^= 1 << (bit % 8)
		switch r, err := decode(name, flipped); {
		case err == nil && cmp.Equal(r, want, sameAddrs):
			intact++
		case err == nil:
			t.Errorf("bit %d flipped: another record: %s", bit, cmp.Diff(want, r, sameAddrs))
		case !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer):
			t.Errorf("bit %d flipped: %v", bit, err)
		}
	}
	for n := range len(content) - 1 { // the last byte is the newline
		if _, err := decode(name, content[:n]); n < len(content)-1 && !errors.Is(err, ErrDamaged) {
			t.Errorf("cut at byte %d: %v", n, err)
		}
	}
	t.Logf("%d bits flipped, %d of them harmless; cut at %d bytes", 8*len(content), intact, len(content)-1)
}

// TestRecordOfOthers: a file that another user owns or can write to is not read as a record.
func TestRecordOfOthers(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"another owner":      func(path string) error { return os.Chown(path, 12345, 0) },
		"writable for all":   func(path string) error { return os.Chmod(path, 0o666) },
		"writable for group": func(path string) error { return os.Chmod(path, 0o660) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			save(t, s, sample(key("c1")))
			save(t, s, sample(key("c2")))
			kit.Must(t, change(filepath.Join(s.dir, recordName(key("c1")))))
			if _, err := s.Load(key("c1")); !errors.Is(err, ErrDamaged) {
				t.Errorf("Load: %v, want ErrDamaged", err)
			}
			if records, problems := list(t, s); len(records) != 1 || len(problems) != 1 {
				t.Errorf("List: %d records, problems %v", len(records), problems)
			}
		})
	}
	s := newStore(t)
	save(t, s, sample(key("c1")))
	kit.Must(t, os.Chmod(filepath.Join(s.dir, recordName(key("c1"))), 0o644))
	load(t, s, key("c1")) // readable for all is allowed
}

// TestPlantedLinks: no symbolic link in the state directory is followed, and its target is not changed.
func TestPlantedLinks(t *testing.T) {
	victim := filepath.Join(t.TempDir(), "victim")
	write(t, victim, fileOf(t, "c1"))
	s := newStore(t)
	for _, path := range []string{
		filepath.Join(s.dir, recordName(key("c1"))), filepath.Join(s.reserved, recordName(key("c1"))), s.lockPath(key("c1")),
	} {
		kit.Must(t, os.Symlink(victim, path))
	}
	if _, err := s.Lock(t.Context(), key("c1")); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("Lock: %v, want ELOOP", err)
	}
	if _, err := s.Load(key("c1")); !errors.Is(err, ErrDamaged) {
		t.Errorf("Load: %v, want ErrDamaged", err)
	}
	if err := s.Save(sample(key("c1"))); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("Save over a link in spare: %v, want ELOOP", err)
	}
	mustContain(t, victim, fileOf(t, "c1"))
	for _, dir := range []string{"locks", "tmp", "reserve", "deletions"} {
		state := filepath.Join(t.TempDir(), "state")
		kit.Must(t, errors.Join(os.Mkdir(state, 0o700), os.Symlink(t.TempDir(), filepath.Join(state, dir))))
		if _, err := Open(state); err == nil || !strings.Contains(err.Error(), "symbolic link") {
			t.Errorf("%s is a link: %v", dir, err)
		}
	}
}

// TestDirectoryRemoved: a store whose directory is removed returns errors, and works again when the directory is
// recreated.
func TestDirectoryRemoved(t *testing.T) {
	s := newStore(t)
	save(t, s, sample(key("c1")))
	unlock, err := s.Lock(t.Context(), key("c1"))
	kit.Must(t, err)
	if err = os.RemoveAll(s.dir); err != nil {
		t.Fatal(err)
	}
	unlock()
	_, lockErr := s.Lock(t.Context(), key("c1"))
	for what, err := range map[string]error{"Lock": lockErr, "Save": s.Save(sample(key("c1"))), "SweepLocks": s.SweepLocks(t.Context())} {
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v, want ErrNotExist", what, err)
		}
	}
	if _, err = s.Load(key("c1")); !errors.Is(err, bond.ErrNotFound) {
		t.Errorf("Load: %v", err)
	}
	if err = s.Remove(key("c1")); err != nil {
		t.Errorf("Remove: %v", err)
	}
	openStore(t, s.dir) // by the plugin
	save(t, s, sample(key("c1")))
	load(t, s, key("c1"))
	if unlock, err = s.Lock(t.Context(), key("c1")); err != nil {
		t.Fatal(err)
	}
	unlock()
}

// TestReadOnly: records can be read, and every change fails with EROFS.
func TestReadOnly(t *testing.T) {
	s := small(t)
	save(t, s, sample(key("c1")))
	kit.Must(t, unix.Mount("", s.dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	openStore(t, s.dir)
	load(t, s, key("c1"))
	if records, problems := list(t, s); len(records) != 1 || len(problems) != 0 {
		t.Errorf("List: %d records, problems %v", len(records), problems)
	}
	_, lockErr := s.Lock(t.Context(), key("c2"))
	for what, err := range map[string]error{"Lock": lockErr, "Save": s.Save(sample(key("c1"))), "Remove": s.Remove(key("c1"))} {
		if !errors.Is(err, unix.EROFS) {
			t.Errorf("%s: %v, want EROFS", what, err)
		}
	}
	kit.Must(t, unix.Mount("", s.dir, "", unix.MS_REMOUNT, ""))
	if err := s.Remove(key("c1")); err != nil {
		t.Error(err)
	}
}

// TestClockSetBack: leftovers from before the clock was set back a year are removed, and records are kept.
func TestClockSetBack(t *testing.T) {
	s := newStore(t)
	save(t, s, sample(key("c1")))
	left := []string{filepath.Join(s.tmp, "left"), filepath.Join(s.reserved, recordName(key("left"))), s.lockPath(key("left"))}
	for _, path := range left {
		write(t, path, "")
	}
	const year = 365 * 24 * time.Hour
	for _, path := range append(left, filepath.Join(s.dir, recordName(key("c1"))), filepath.Join(s.reserved, recordName(key("c1")))) {
		touch(t, path, year)
	}
	if records, problems := list(t, s); len(records) != 1 || len(problems) != 0 {
		t.Errorf("List: %d records, problems %v", len(records), problems)
	}
	if err := s.SweepLocks(t.Context()); err != nil {
		t.Error(err)
	}
	for _, path := range left {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left (%v)", path, err)
		}
	}
}

// TestManyRecords: 10,000 records are listed, and nothing is left after their removal.
func TestManyRecords(t *testing.T) {
	many := lives(t)
	dir := t.TempDir()
	kit.MountTmpfs(t, dir)
	s := openStore(t, dir)
	start := files(t, s)
	for i := range many {
		save(t, s, sample(key(fmt.Sprintf("%064d", i))))
	}
	began := time.Now()
	records, problems := list(t, s)
	t.Logf("%d records listed in %s", len(records), time.Since(began))
	keys, err := s.Keys()
	if err != nil || len(records) != many || len(problems) != 0 || len(keys) != many {
		t.Errorf("%d records, %d keys, problems %v, %v", len(records), len(keys), problems, err)
	}
	for _, k := range keys {
		kit.Must(t, s.Remove(k))
	}
	if end := files(t, s); end != start {
		t.Errorf("%d files at the end, %d at the start", end, start)
	}
}
