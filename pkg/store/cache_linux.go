package store

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// recordCache has the records that were last read or saved, without marks. To decode a record takes some hundred times
// as long as to see that its file has not changed, and ten times as long as to read the file. Most listings follow a
// change of one record, and a repair loads its record several times. It is safe for concurrent use; its zero value is
// empty.
type recordCache struct {
	mu    sync.Mutex
	files map[string]cachedRecord // by file name
}

// cachedRecord is what a file contains. Nothing of it is changed.
type cachedRecord struct {
	// version is zero if another content may have the same.
	version fileVersion
	data    []byte
	record  *bond.Record
	// saved: data is what this Store last saved.
	saved bool
}

// fileVersion differs after each change of a file's content, mode or owner.
type fileVersion struct {
	inode   uint64
	size    int64
	changed syscall.Timespec
}

// clockTick is more than the resolution of a file system's clock. A file that changed less than this before it was read
// can change again without another time.
const clockTick = 50 * time.Millisecond

// versionOf returns a file's version, and whether its next change will give it another one.
func versionOf(path string) (v fileVersion, certain bool, err error) {
	info, err := os.Lstat(path)
	if err != nil {
		return v, false, err
	}
	st := info.Sys().(*syscall.Stat_t)
	return fileVersion{st.Ino, st.Size, st.Ctim}, time.Since(time.Unix(st.Ctim.Unix())) > clockTick, nil
}

// readCached is read for a caller that does not change the record.
func (s *Store) readCached(name string) (*bond.Record, error) {
	r, err := s.readUnmarked(name)
	if err != nil {
		return nil, err
	}
	marked := *r
	s.mergeMark(&marked)
	return &marked, nil
}

// readUnmarked returns the record as it is in the file, without a mark of its deletion. It must not be changed.
func (s *Store) readUnmarked(name string) (*bond.Record, error) {
	unchanged, data, version, err := s.readUnlessUnchanged(name)
	if unchanged != nil {
		return unchanged, nil
	}
	if err != nil {
		s.cache.forget(name)
		return nil, err
	}
	known := s.cache.withContent(name, data)
	if known.record == nil {
		if known.record, err = decode(name, data); err != nil {
			return nil, err
		}
	}
	s.cache.put(name, cachedRecord{version, data, known.record, known.saved})
	return known.record, nil
}

// readUnlessUnchanged returns the cached record of a file that has not changed; otherwise it is nil, and the file's
// content is returned with its version, which is zero if its next change may not give it another one.
func (s *Store) readUnlessUnchanged(name string) (unchanged *bond.Record, data []byte, version fileVersion, err error) {
	version, certain, err := versionOf(filepath.Join(s.dir, name))
	if unchanged = s.cache.unchanged(name, version); unchanged != nil || err != nil {
		return unchanged, nil, version, err
	}
	if !certain {
		version = fileVersion{}
	}
	data, err = s.readFile(name)
	return nil, data, version, err
}

// unchanged returns the record of a file; nil if the file has another version.
func (c *recordCache) unchanged(name string, v fileVersion) *bond.Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.files[name]; v != (fileVersion{}) && known.version == v {
		return known.record
	}
	return nil
}

// withContent returns what is known of a file with that content; zero if nothing is.
func (c *recordCache) withContent(name string, data []byte) cachedRecord {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.files[name]; bytes.Equal(known.data, data) {
		return known
	}
	return cachedRecord{}
}

// SavedHere reports whether a record's file, when it was last read or listed, had what this Store last saved: no other
// process has replaced it, and it was not edited.
func (s *Store) SavedHere(k bond.Key) bool {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	return s.cache.files[recordName(k)].saved
}

// put takes r over. Its record must be what decode returns for its data.
func (c *recordCache) put(name string, r cachedRecord) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.files == nil {
		c.files = map[string]cachedRecord{}
	}
	c.files[name] = r
}

func (c *recordCache) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.files, name)
}

// retain forgets all files but those with the sorted names.
func (c *recordCache) retain(names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range c.files {
		if _, exists := slices.BinarySearch(names, name); !exists {
			delete(c.files, name)
		}
	}
}
