package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// Load reads the record of k. It needs no lock: what it reads is whole. Where there is
// no record, or none that this program can act on (a *Problem), the error matches
// bond.ErrNotFound; any other error says nothing about the record. Load changes no file.
func (s *Store) Load(k bond.Key) (*bond.Record, error) {
	if err := k.Validate(); err != nil {
		return nil, fmt.Errorf("load record: %w", err)
	}
	r, err := s.read(recordName(k))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("bond %s: %w", k, bond.ErrNotFound)
	}
	if err != nil {
		return nil, &Problem{Key: k, Path: filepath.Join(s.dir, recordName(k)), Err: err}
	}
	return r, nil
}

// Save puts r on its name and stamps r.Updated. Whatever fails, the name has either the
// record that it had or the new one. The caller holds the bond's lock. A record of a
// newer version is not replaced (bond.ErrUnsupported), a damaged one is set aside first. A
// record is saved only with room left for its tombstone, which a full disk does not refuse.
func (s *Store) Save(r *bond.Record) error {
	r.Updated = time.Now().UTC().Round(0) // as it reads back: UTC, no monotonic clock
	name := recordName(r.Key)
	data, err := encode(r)
	if err == nil {
		_, err = decode(name, data) // what would not load must not be saved
	}
	if err != nil {
		return fmt.Errorf("save record of bond %s: %w", r.Key, err)
	}
	if err = s.vacate(name); err != nil {
		if errors.Is(err, ErrNewer) {
			err = fmt.Errorf("%w: %w", bond.ErrUnsupported, err)
		}
		return fmt.Errorf("save record of bond %s: %w", r.Key, err)
	}
	if r.Deleted() {
		err = s.putTombstone(name, data)
	} else if err = s.reserve(name, len(data)); err == nil {
		err = s.put(name, data)
	}
	if err != nil {
		return fmt.Errorf("save record of bond %s (what was saved before still stands): %w", r.Key, err)
	}
	return nil
}

// Remove deletes the record of k; to find none is success. The caller holds the bond's
// lock. What is no record is not deleted: damaged it is set aside, newer it stays.
func (s *Store) Remove(k bond.Key) error {
	if err := k.Validate(); err != nil {
		return fmt.Errorf("remove record: %w", err)
	}
	r, _ := s.read(recordName(k))
	err := s.vacate(recordName(k))
	if errors.Is(err, ErrNewer) {
		return nil
	}
	if err == nil {
		err = os.Remove(filepath.Join(s.dir, recordName(k)))
		s.giveRoom(recordName(k))
	}
	if r != nil && err == nil {
		s.removeMark(r)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove record of bond %s: %w", k, err)
	}
	return nil
}

// vacate makes the name free to be replaced or removed: what is there is a record, or
// nothing, or is set aside. An error means that it must stay as it is.
func (s *Store) vacate(name string) error {
	_, err := s.read(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, ErrDamaged):
		_, err = s.setAside(name)
		return err
	default:
		return err
	}
}

// put writes a file and moves it on its name. There is no fsync: the directory is on
// tmpfs, and what a process has written another one sees, even if the first is killed.
func (s *Store) put(name string, data []byte) (err error) {
	f, err := os.CreateTemp(s.tmp, name+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(s.dir, name))
}

// read is the record in the file name. Errors match fs.ErrNotExist, ErrDamaged or
// ErrNewer; any other is a failure to read, which is no fault of the file.
func (s *Store) read(name string) (*bond.Record, error) {
	data, err := s.content(name)
	if err != nil {
		return nil, err
	}
	r, err := decode(name, data)
	if err == nil {
		s.mergeMark(r)
	}
	return r, err
}

// content reads a file that should be a record.
func (s *Store) content(name string) ([]byte, error) {
	// O_NONBLOCK, O_NOFOLLOW: neither a FIFO nor a link on the name is followed.
	f, err := os.OpenFile(filepath.Join(s.dir, name), os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%w: a symbolic link", ErrDamaged)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: not a regular file (%s)", ErrDamaged, info.Mode())
	}
	if err := checkOwner(info); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if info.Size() > maxSize {
		return nil, fmt.Errorf("%w: %d bytes, a record has %d at most", ErrDamaged, info.Size(), maxSize)
	}
	return io.ReadAll(io.LimitReader(f, maxSize))
}
