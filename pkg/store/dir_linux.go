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

// snapshot lists a directory as it was at one moment, sorted.
//
// A name that is renamed over while a listing is under way may be left out of it
// (readdir(3)), and tmpfs does leave it out, for it gives the name a new place: with
// os.ReadDir, which reads 8 KiB at a time, most listings of 300 records that were being
// saved missed some. Within one getdents64 the kernel holds the directory's lock. So the
// whole directory is read by one call, with a larger buffer if it does not fit.
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
		// A signal may cut a call short, and some file systems give less than fits; then
		// after a few attempts a listing in pieces is all there is.
		if calls == 1 || attempt == 5 {
			slices.Sort(names)
			return slices.Compact(names), nil
		}
		size = max(size, 2*read)
	}
}

// readNames reads the directory from its start, and counts the calls and the bytes that took.
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

// setAside renames the file to the first free "<name>.bad-<n>" and returns its new path.
// Nothing is ever overwritten, hence RENAME_NOREPLACE. To find it gone is success:
// somebody else was quicker.
func (s *Store) setAside(name string) (string, error) {
	from := filepath.Join(s.dir, name)
	for n := 1; ; n++ {
		to := fmt.Sprintf("%s.bad-%d", from, n)
		err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
		switch {
		case err == nil || errors.Is(err, unix.ENOENT):
			return to, nil
		case !errors.Is(err, unix.EEXIST):
			return from, &os.LinkError{Op: "set aside", Old: from, New: to, Err: err}
		}
	}
}
