package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// snapshot returns the sorted names in a directory at one moment.
//
// A name that is renamed over during a listing can be missing from it (readdir(3)). On tmpfs this happens, because the
// name gets a new position: os.ReadDir, which reads 8 KiB at a time, missed records in most listings of 300 that were
// being saved. During one getdents64 the kernel holds the directory's lock. So the whole directory is read by one call,
// with a larger buffer if it does not fit.
func snapshot(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	size := 64 << 10
	for attempt := 1; ; attempt++ {
		names, calls, read, err := readNames(f, make([]byte, size))
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", dir, err)
		}
		// A signal may interrupt a call, and some file systems return less than fits. After a few attempts a listing in
		// several calls is accepted.
		if calls == 1 || attempt == 5 {
			slices.Sort(names)
			return slices.Compact(names), nil
		}
		size = max(size, 2*read)
	}
}

// readNames reads the directory from its start, and counts calls and bytes.
func readNames(f *os.File, buf []byte) (names []string, calls, read int, err error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, 0, 0, err
	}
	for {
		n, err := unix.ReadDirent(int(f.Fd()), buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			return names, calls, read, err
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
		calls, read = calls+1, read+n
	}
}

// quarantine renames the file to the first free "<name>.bad-<n>" and returns its new path. Nothing is ever overwritten,
// hence RENAME_NOREPLACE. A missing file is not an error: another process was faster.
func (s *Store) quarantine(name string) (string, error) {
	from := filepath.Join(s.dir, name)
	for n := 1; ; n++ {
		to := fmt.Sprintf("%s.bad-%d", from, n)
		err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
		switch {
		case err == nil || errors.Is(err, unix.ENOENT):
			return to, nil
		case !errors.Is(err, unix.EEXIST):
			return from, &os.LinkError{Op: "quarantine", Old: from, New: to, Err: err}
		}
	}
}
