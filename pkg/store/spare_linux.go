package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// spareRoom is how much larger a tombstone may be than the record that it replaces.
const spareRoom = 4096

// reserve keeps room on the disk for the tombstone of the record in name, which has size bytes now, so that
// a bond can be ended when the directory is full. A file system that cannot set room aside goes without.
func (s *Store) reserve(name string, size int) (err error) {
	path, want := filepath.Join(s.spare, name), int64(size+spareRoom)
	if info, absent := os.Lstat(path); absent == nil && info.Size() >= want-spareRoom/2 { // not anew for each byte that it grows
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
		err = &fs.PathError{Op: "keep room for the record's end", Path: path, Err: err}
	}
	return errors.Join(err, f.Close())
}

// giveRoom frees what reserve kept.
func (s *Store) giveRoom(name string) { _ = os.Remove(filepath.Join(s.spare, name)) }

// putTombstone is put where a full disk is no excuse. Once it has replaced the record there is room again.
func (s *Store) putTombstone(name string, data []byte) error {
	err := s.put(name, data)
	if !errors.Is(err, unix.ENOSPC) {
		return err
	}
	s.giveRoom(name)
	if err = s.put(name, data); err == nil {
		_ = s.reserve(name, len(data))
	}
	return err
}

// sweepSpare frees the room of records that are gone, which killed writers left.
func (s *Store) sweepSpare() {
	entries, err := os.ReadDir(s.spare)
	if err != nil {
		return
	}
	for _, e := range entries {
		_, gone := os.Lstat(filepath.Join(s.dir, e.Name()))
		if info, err := e.Info(); err == nil && errors.Is(gone, fs.ErrNotExist) && old(info) {
			s.giveRoom(e.Name())
		}
	}
}
