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

	"github.com/bondkeeper/bondkeeper/pkg/atomicfile"
	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// Load reads the record of k. It needs no lock, because files are replaced atomically. If there is no record, or a
// *BadRecord, the error matches bond.ErrNotFound; with any other error nothing is known about the record. Load changes
// no files.
func (s *Store) Load(k bond.Key) (*bond.Record, error) {
	if err := k.Validate(); err != nil {
		return nil, fmt.Errorf("load record: %w", err)
	}
	r, err := s.read(recordName(k))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("bond %s: %w", k, bond.ErrNotFound)
	}
	if err != nil {
		return nil, &BadRecord{Key: k, Path: filepath.Join(s.dir, recordName(k)), Err: err}
	}
	return r, nil
}

// Save writes r and sets r.Updated. If it fails the previous record remains. The caller holds the bond's lock. A record
// of a newer version is not replaced (bond.ErrUnsupported), a damaged one is quarantined first. A record is saved only
// if space for its tombstone can be reserved.
func (s *Store) Save(r *bond.Record) error {
	r.Updated = time.Now().UTC().Round(0) // as it is read back: UTC, no monotonic clock
	name := recordName(r.Key)
	data, saved, err := encode(r)
	if err == nil {
		err = checkSize(r, len(data))
	}
	if err != nil {
		return fmt.Errorf("save record of bond %s: %w", r.Key, err)
	}
	if err = s.prepareReplace(name); err != nil {
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
		return fmt.Errorf("save record of bond %s (the previous one remains): %w", r.Key, err)
	}
	s.cache.put(name, cachedRecord{data: data, record: saved, saved: true})
	return nil
}

// checkSize rejects a file that could not be loaded, or whose tombstone could not.
func checkSize(r *bond.Record, size int) error {
	most := maxSize
	if !r.Deleted() {
		most -= tombstoneGrowth
	}
	if size <= most {
		return nil
	}
	return fmt.Errorf("it would have %d bytes, a record has %d at most; shorten the network config, or the list of routes", size, most)
}

// Remove deletes the record of k, if there is one. The caller holds the bond's lock. A damaged file is quarantined, and
// one of a newer version remains.
func (s *Store) Remove(k bond.Key) error {
	if err := k.Validate(); err != nil {
		return fmt.Errorf("remove record: %w", err)
	}
	r, _ := s.read(recordName(k))
	err := s.prepareReplace(recordName(k))
	if errors.Is(err, ErrNewer) {
		return nil
	}
	if err == nil {
		err = os.Remove(filepath.Join(s.dir, recordName(k)))
		s.cache.forget(recordName(k))
		s.releaseReserve(recordName(k))
	}
	if r != nil && err == nil {
		s.removeMark(r)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove record of bond %s: %w", k, err)
	}
	return nil
}

// prepareReplace makes sure that the file may be replaced or removed: a damaged one is quarantined. After an error it
// must stay as it is. A file with a right checksum has what Save wrote, so that only its key is decoded.
func (s *Store) prepareReplace(name string) error {
	unchanged, data, _, err := s.readUnlessUnchanged(name)
	if unchanged != nil {
		return nil
	}
	if err == nil && s.cache.withContent(name, data).record == nil {
		err = verify(name, data)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, ErrDamaged):
		_, err = s.quarantine(name)
		return err
	default:
		return err
	}
}

// put replaces a file. There is no fsync: the directory is on tmpfs, and other processes see what a process
// has written even if it is killed.
func (s *Store) put(name string, data []byte) error {
	return atomicfile.Replace(filepath.Join(s.dir, name), s.tmp, name+".*", data)
}

// read returns the record in the file name. Errors match fs.ErrNotExist, ErrDamaged or ErrNewer; after any other error
// nothing is known about the file's content.
func (s *Store) read(name string) (*bond.Record, error) {
	r, err := s.readUnmarked(name)
	if err != nil {
		return nil, err
	}
	r = r.Clone()
	s.mergeMark(r)
	return r, nil
}

// readFile reads the content of a record file.
func (s *Store) readFile(name string) ([]byte, error) {
	// O_NONBLOCK, O_NOFOLLOW: neither a FIFO nor a symbolic link is followed.
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
