package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// tempAge is the age from which the writer of a temporary file counts as dead. If it was only stopped, its Save fails.
const tempAge = 10 * time.Minute

// old reports whether the file's writer must be dead. A file from the future was written before the clock was set back.
func old(info os.FileInfo) bool { return time.Since(info.ModTime()).Abs() > tempAge }

// quarantined matches the names that quarantine assigns.
var quarantined = regexp.MustCompile(`^(.*\.json)\.bad-[0-9]+$`)

// Keys returns the bonds that have a record file, readable or not, sorted.
func (s *Store) Keys() ([]bond.Key, error) {
	names, err := snapshot(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list records: %w", err)
	}
	var keys []bond.Key
	for _, name := range names {
		if k, ok := KeyOf(name); ok {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

// List reads all records, sorted by name. One that exists throughout the call is not missed. Files that cannot be read
// are returned in bad, before and after they are quarantined. List also removes what killed writers left. It locks only
// damaged records, without waiting. The error is for a directory that cannot be listed and for ctx's end. The records
// must not be changed: a later call returns them again while their files have not changed.
func (s *Store) List(ctx context.Context) (records []*bond.Record, bad []*BadRecord, err error) {
	names, err := snapshot(s.dir)
	if err != nil {
		return nil, nil, fmt.Errorf("list records: %w", err)
	}
	s.sweep()
	s.migrateReserve()
	s.sweepReserve()
	s.sweepMarks()
	s.cache.retain(names)
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return nil, nil, fmt.Errorf("list records: %w", err)
		}
		var r *bond.Record
		var p *BadRecord
		if m := quarantined.FindStringSubmatch(name); m != nil {
			p = s.reviewQuarantined(name, m[1])
		} else if strings.HasSuffix(name, recordSuffix) {
			r, p = s.readListed(name)
		}
		if r != nil {
			records = append(records, r)
		}
		if p != nil {
			bad = append(bad, p)
		}
	}
	return records, bad, nil
}

// readListed returns the record in the file, or a BadRecord, or neither if the file no longer exists.
func (s *Store) readListed(name string) (*bond.Record, *BadRecord) {
	r, err := s.readCached(name)
	if err == nil {
		return r, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	key, named := KeyOf(name)
	p := &BadRecord{Key: key, Path: filepath.Join(s.dir, name), Err: err}
	if !errors.Is(err, ErrDamaged) {
		return nil, p
	}
	if named {
		// Without the lock a record that was saved just now could be renamed. If the lock is held, its holder
		// quarantines the file with its next Save, or the next List does.
		unlock, heldErr := s.tryLock(key)
		if heldErr != nil {
			return nil, p
		}
		defer unlock()
		if r, err = s.read(name); err == nil || errors.Is(err, fs.ErrNotExist) {
			return r, nil
		}
		p.Err = err
		if !errors.Is(err, ErrDamaged) {
			return nil, p
		}
	}
	path, err := s.quarantine(name)
	if err != nil {
		p.Err = fmt.Errorf("%w; it was not renamed: %w", p.Err, err)
	}
	p.Path = path
	return nil, p
}

// reviewQuarantined returns the error of a file that was quarantined earlier under the name original.
func (s *Store) reviewQuarantined(name, original string) *BadRecord {
	key, _ := KeyOf(original)
	p := &BadRecord{Key: key, Path: filepath.Join(s.dir, name)}
	data, err := s.readFile(name)
	if err == nil {
		_, err = decode(original, data)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("%w earlier, readable now: move it back to %s or delete it", ErrDamaged, original)
	}
	p.Err = err
	return p
}

// sweep removes temporary files whose writers were killed. Failures are ignored: the next List tries again.
func (s *Store) sweep() {
	eachOld(s.tmp, func(name string) { _ = os.Remove(filepath.Join(s.tmp, name)) })
}

// eachOld calls f with the name of each file in dir that is old. A directory that cannot be read has none.
func eachOld(dir string, f func(name string)) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && old(info) {
			f(e.Name())
		}
	}
}
