package kit

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// MountTmpfs mounts a tmpfs, as /run is, until the test's end. It needs root. options are further options of tmpfs.
func MountTmpfs(t testing.TB, dir string, options ...string) {
	t.Helper()
	all := strings.Join(append(options, "mode=0700"), ",")
	Must(t, os.MkdirAll(dir, 0o700), unix.Mount("tmpfs", dir, "tmpfs", 0, all))
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
}

// FillDisk leaves this many bytes free on a directory's disk. It returns the file that occupies the rest.
func FillDisk(t testing.TB, dir string, free int) (filler string) {
	t.Helper()
	filler = filepath.Join(dir, "filler")
	f, err := os.Create(filler)
	Must(t, err)
	size := int64(0)
	for ; err == nil; size += 4096 {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	Must(t, f.Truncate(size-4096-int64(free)), f.Close())
	return filler
}
