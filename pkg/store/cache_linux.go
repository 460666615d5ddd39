package store

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// recordCache has the records that List has read, without marks. Most listings follow a change of one record, and to
// decode a record takes some hundred times as long as to see that its file has not changed. It is safe for concurrent
// use; its zero value is empty.
type recordCache struct {
	mu    sync.Mutex
	files map[string]cachedRecord // by file name
}

type cachedRecord struct {
	version fileVersion
	record  *bond.Record
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
func versionOf(path string) (v fileVersion, certain bool) {
	info, err := os.Lstat(path)
	if err != nil {
		return v, false
	}
	st := info.Sys().(*syscall.Stat_t)
	return fileVersion{st.Ino, st.Size, st.Ctim}, time.Since(time.Unix(st.Ctim.Unix())) > clockTick
}

// readCached is read for a caller that does not change the record.
func (s *Store) readCached(name string) (*bond.Record, error) {
	version, certain := versionOf(filepath.Join(s.dir, name))
	r := s.listed.get(name, version)
	if r == nil {
		var err error
		if r, err = s.readUnmarked(name); err != nil {
			return nil, err
		}
		if certain {
			s.listed.put(name, cachedRecord{version, r})
		}
	}
	marked := *r
	s.mergeMark(&marked)
	return &marked, nil
}

// get returns nil if the file's version is another one.
func (c *recordCache) get(name string, v fileVersion) *bond.Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cached := c.files[name]; cached.version == v {
		return cached.record
	}
	return nil
}

func (c *recordCache) put(name string, r cachedRecord) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.files == nil {
		c.files = map[string]cachedRecord{}
	}
	c.files[name] = r
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
