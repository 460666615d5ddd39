package netnstest

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/netns"
)

// New makes an empty netns, with only a loopback interface that is down, and returns the path of its bind mount, as a
// container runtime would. It is deleted when the test ends. The test fails without the rights to make one.
func New(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "netns")
	NewAt(t, path)
	return path
}

// NewAt is New at a given path. An existing netns at the path is covered by the new one.
func NewAt(t testing.TB, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY|unix.O_NONBLOCK, 0o444)
	if err != nil {
		t.Fatalf("make the file that the netns is mounted on: %v", err)
	}
	_ = f.Close()
	here, err := netns.Current()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = here.Close() }()
	// Do returns the thread to its previous netns, also from the netns made here.
	err = here.Do(func() error {
		if unshared := unix.Unshare(unix.CLONE_NEWNET); unshared != nil {
			return os.NewSyscallError("unshare", unshared)
		}
		return os.NewSyscallError("mount", unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, ""))
	})
	if err != nil {
		t.Fatalf("make a netns at %s (this needs root): %v", path, err)
	}
	t.Cleanup(func() { unmount(t, path) })
}

// Unmount is the first half of a container runtime's deletion of a netns: a plain file stays at the path. The netns
// ends when nothing else holds it.
func Unmount(t testing.TB, path string) {
	t.Helper()
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
		t.Fatalf("unmount the netns at %s: %v", path, err)
	}
}

// Delete ends the netns at path as a container runtime does: unmount, remove the file.
func Delete(t testing.TB, path string) {
	t.Helper()
	Unmount(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// unmount accepts that the test has unmounted or removed it already.
func unmount(t testing.TB, path string) {
	err := unix.Unmount(path, unix.MNT_DETACH)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		t.Errorf("unmount the netns at %s: %v", path, err)
	}
}
