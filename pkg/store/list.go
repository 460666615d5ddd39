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

// tempAge is how old a temporary file is when its writer must be dead. A writer that
// was only stopped for so long fails its Save and harms nothing.
const tempAge = 10 * time.Minute

// old reports whether the process that made a file must be dead. A file from the future was made before the clock was
// set back.
func old(info os.FileInfo) bool { return time.Since(info.ModTime()).Abs() > tempAge }

// aside is the form of the names that setAside gives.
var aside = regexp.MustCompile(`^(.*\.json)\.bad-[0-9]+$`)

// Keys are the bonds that have a file on their record's name, readable or not, sorted.
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

// List reads all records, sorted by name, each as it was at some moment of the call; one
// that is there throughout is not missed. What cannot be read is told in problems,
// once it is set aside as well as before, and keeps nothing else from being read. List also
// clears away what killed writers left. It takes locks only of damaged records, without
// waiting. The error is for a directory that cannot be listed and for ctx's end.
func (s *Store) List(ctx context.Context) (records []*bond.Record, problems []*Problem, err error) {
	names, err := snapshot(s.dir)
	if err != nil {
		return nil, nil, fmt.Errorf("list records: %w", err)
	}
	s.sweep()
	s.sweepSpare()
	s.sweepMarks()
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return nil, nil, fmt.Errorf("list records: %w", err)
		}
		var r *bond.Record
		var p *Problem
		if m := aside.FindStringSubmatch(name); m != nil {
			p = s.reviewAside(name, m[1])
		} else if strings.HasSuffix(name, recordSuffix) {
			r, p = s.listed(name)
		}
		if r != nil {
			records = append(records, r)
		}
		if p != nil {
			problems = append(problems, p)
		}
	}
	return records, problems, nil
}

// listed is the record on name or what is wrong with it; neither when it went away.
func (s *Store) listed(name string) (*bond.Record, *Problem) {
	r, err := s.read(name)
	if err == nil {
		return r, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	key, named := KeyOf(name)
	p := &Problem{Key: key, Path: filepath.Join(s.dir, name), Err: err}
	if !errors.Is(err, ErrDamaged) {
		return nil, p
	}
	if named {
		// Without the lock a record that was saved just now would be renamed. If it is held,
		// its holder sets the file aside with its next Save, or the next List does.
		unlock, held := s.tryLock(key)
		if held != nil {
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
	path, err := s.setAside(name)
	if err != nil {
		p.Err = fmt.Errorf("%w; it stays in its place: %w", p.Err, err)
	}
	p.Path = path
	return nil, p
}

// reviewAside is the problem of a file that was set aside earlier from the name original.
func (s *Store) reviewAside(name, original string) *Problem {
	key, _ := KeyOf(original)
	p := &Problem{Key: key, Path: filepath.Join(s.dir, name)}
	data, err := s.content(name)
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

// sweep removes temporary files whose writers were killed. A failure is no matter: it
// is tried again with the next List.
func (s *Store) sweep() {
	entries, err := os.ReadDir(s.tmp)
	if err != nil {
		return
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && old(info) {
			_ = os.Remove(filepath.Join(s.tmp, e.Name()))
		}
	}
}
