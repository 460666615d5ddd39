package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// tombstoneGrowth is how much larger a tombstone may be than its record.
const tombstoneGrowth = 4096

// reserve allocates disk space for the tombstone of a record of size bytes, so that a bond can be deleted when the disk
// is full. File systems without fallocate have no reserve.
func (s *Store) reserve(name string, size int) (err error) {
	path, want := filepath.Join(s.reserved, name), int64(size+tombstoneGrowth)
	if info, statErr := os.Lstat(path); statErr == nil && info.Size() >= want-tombstoneGrowth/2 { // not for each byte that it grows
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	err = uninterrupted(func() error { return unix.Fallocate(int(f.Fd()), 0, 0, want) })
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		err = nil
	}
	if err != nil {
		err = &fs.PathError{Op: "reserve space for the record's tombstone", Path: path, Err: err}
	}
	return errors.Join(err, f.Close())
}

// releaseReserve frees the space for a tombstone, also where an earlier version reserved it.
func (s *Store) releaseReserve(name string) {
	_ = os.Remove(filepath.Join(s.reserved, name))
	_ = os.Remove(filepath.Join(s.previousReserve(), name))
}

// previousReserve is the directory of earlier versions, whose plugins and agents may still run during an upgrade.
func (s *Store) previousReserve() string { return filepath.Join(s.dir, "spare") }

// putTombstone is put for tombstones: if the disk is full it uses the reserve.
func (s *Store) putTombstone(name string, data []byte) error {
	err := s.put(name, data)
	if !errors.Is(err, unix.ENOSPC) {
		return err
	}
	s.releaseReserve(name)
	if err = s.put(name, data); err == nil {
		_ = s.reserve(name, len(data))
	}
	return err
}

// sweepReserve frees the reserves of missing records, which killed writers left.
func (s *Store) sweepReserve() {
	eachOld(s.reserved, func(name string) {
		if _, err := os.Lstat(filepath.Join(s.dir, name)); errors.Is(err, fs.ErrNotExist) {
			s.releaseReserve(name)
		}
	})
}

// migrateReserve moves the reserves of an earlier version, and removes their directory once that version does not use
// it.
func (s *Store) migrateReserve() {
	previous := s.previousReserve()
	entries, err := os.ReadDir(previous)
	if err != nil {
		return
	}
	for _, e := range entries {
		// A reserve that exists in both directories is needed once.
		from, to := filepath.Join(previous, e.Name()), filepath.Join(s.reserved, e.Name())
		if err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE); errors.Is(err, unix.EEXIST) {
			_ = os.Remove(from)
		}
	}
	if info, err := os.Lstat(previous); err == nil && old(info) {
		_ = os.Remove(previous) // fails unless it is empty
	}
}
