package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// createdFormat is the last part of a mark's name. It identifies the ADD that wrote the record.
const createdFormat = "20060102T150405.000000000"

func markName(r *bond.Record) string {
	return r.Key.String() + "." + r.Created.UTC().Format(createdFormat)
}

// MarkDeleted makes r a tombstone for every process that loads it from now on. It needs no lock: the agent may hold the
// bond's lock for as long as a driver takes. The mark is an empty file, made by one system call. Its name has the bond
// and the time of its ADD, so it does not apply to a later ADD's record. Remove removes it.
func (s *Store) MarkDeleted(r *bond.Record) error {
	path := filepath.Join(s.deletions, markName(r))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err != nil:
		return fmt.Errorf("mark bond %s as deleted: %w", r.Key, err)
	}
	_ = f.Close()
	if now, err := s.read(recordName(r.Key)); errors.Is(err, fs.ErrNotExist) || err == nil && !now.Created.Equal(r.Created) {
		_ = os.Remove(path) // the record was removed meanwhile
	}
	return nil
}

// MarkedDeleted reports whether MarkDeleted was called for r since r was loaded, or before.
func (s *Store) MarkedDeleted(r *bond.Record) bool {
	_, err := os.Lstat(filepath.Join(s.deletions, markName(r)))
	return err == nil
}

// mergeMark makes a record that was read a tombstone if it is marked.
func (s *Store) mergeMark(r *bond.Record) {
	if r.Deleted() {
		return
	}
	info, err := os.Lstat(filepath.Join(s.deletions, markName(r)))
	if err != nil {
		return
	}
	r.Phase = bond.PhaseDeleting
	if at := info.ModTime().UTC(); at.After(r.Updated) {
		r.Updated = at
	}
}

func (s *Store) removeMark(r *bond.Record) { _ = os.Remove(filepath.Join(s.deletions, markName(r))) }

// sweepMarks removes marks without records, which killed processes left.
func (s *Store) sweepMarks() {
	eachOld(s.deletions, func(name string) {
		if len(name) <= len(createdFormat) {
			return
		}
		key := strings.TrimSuffix(name[:len(name)-len(createdFormat)], ".")
		r, err := s.read(key + recordSuffix)
		if errors.Is(err, fs.ErrNotExist) || err == nil && markName(r) != name {
			_ = os.Remove(filepath.Join(s.deletions, name))
		}
	})
}
