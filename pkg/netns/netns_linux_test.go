package netns_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netns"
	"github.com/bondkeeper/bondkeeper/pkg/netns/netnstest"
)

func open(t *testing.T, path string) *netns.NS {
	t.Helper()
	ns, err := netns.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ns.Close() })
	return ns
}

// TestOpenRejects covers everything that can be at a path and is not a netns.
func TestOpenRejects(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink("loop", loop); err != nil {
		t.Fatal(err)
	}
	unmounted := netnstest.New(t)
	netnstest.Unmount(t, unmounted)
	deleted := netnstest.New(t)
	netnstest.Delete(t, deleted)
	for _, tc := range []struct {
		name, path string
		gone       bool
	}{
		{"nothing", filepath.Join(dir, "nothing"), true},
		{"a file as directory", filepath.Join(file, "net"), true},
		{"no such process", "/proc/4194999/ns/net", true}, // above PID_MAX_LIMIT
		{"a regular file", file, true},
		{"a FIFO without writer", fifo, true},
		{"a directory", dir, true},
		{"a device", "/dev/null", true},
		{"a namespace of another type", "/proc/self/ns/uts", true},
		{"a netns that was unmounted", unmounted, true},
		{"a netns that was deleted", deleted, true},
		{"a loop of links", loop, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ns, err := netns.Open(tc.path)
			if err == nil {
				_ = ns.Close()
				t.Fatalf("opened %s as %s", tc.path, ns.ID())
			}
			if errors.Is(err, netns.ErrGone) != tc.gone {
				t.Errorf("%v: matches ErrGone is %t, want %t", err, !tc.gone, tc.gone)
			}
			if want := tc.path; !contains(err, want) {
				t.Errorf("%q does not name the path %s", err, want)
			}
		})
	}
}

// TestOpenWithoutDescriptors: an error of the process must not be mistaken for the end of a sandbox.
func TestOpenWithoutDescriptors(t *testing.T) {
	path := netnstest.New(t)
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	none := unix.Rlimit{Cur: 3, Max: before.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	_, err := netns.OpenSandbox(bond.Sandbox{Path: path, Dev: 1, Inode: 1})
	if limitErr := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); limitErr != nil {
		t.Fatal(limitErr)
	}
	if !errors.Is(err, unix.EMFILE) || errors.Is(err, netns.ErrGone) {
		t.Errorf("got %v, want EMFILE and not ErrGone", err)
	}
}

func TestIdentityIsTheSameByEveryPath(t *testing.T) {
	path := netnstest.New(t)
	ns := open(t, path)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "1000")
	if err := ns.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	for _, other := range []string{
		path, link,
		fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid),
		fmt.Sprintf("/proc/self/fd/%d", ns.Fd()),
	} {
		if id, err := netns.Identify(other); err != nil || id != ns.ID() {
			t.Errorf("%s is %s (%v), want %s", other, id, err, ns.ID())
		}
	}
	own, err := netns.Identify("/proc/self/ns/net")
	if err != nil || own == ns.ID() {
		t.Errorf("own netns is %s (%v), must not be %s", own, err, ns.ID())
	}
	if other := open(t, netnstest.New(t)); other.ID() == ns.ID() {
		t.Errorf("two living netns are both %s", ns.ID())
	}
}

// TestOpenSandbox checks invariant 5: what the path leads to is the sandbox, not the path.
func TestOpenSandbox(t *testing.T) {
	path := netnstest.New(t)
	want := open(t, path).ID() // held open, so that its inode number is not reused
	verified := func() error {
		ns, err := netns.OpenSandbox(bond.Sandbox{Path: path, Dev: want.Dev, Inode: want.Inode})
		if err == nil {
			defer func() { _ = ns.Close() }()
			if ns.ID() != want || ns.Path() != path {
				t.Errorf("opened %s at %s, want %s at %s", ns.ID(), ns.Path(), want, path)
			}
		}
		return err
	}
	if err := verified(); err != nil {
		t.Fatal(err)
	}
	netnstest.NewAt(t, path) // covers the first mount
	if err := verified(); !errors.Is(err, netns.ErrGone) {
		t.Errorf("another netns at the path: got %v, want ErrGone", err)
	}
	netnstest.Unmount(t, path)
	if err := verified(); err != nil {
		t.Errorf("the first netns shows again: %v", err)
	}
	netnstest.Unmount(t, path)
	if err := verified(); !errors.Is(err, netns.ErrGone) {
		t.Errorf("a plain file at the path: got %v, want ErrGone", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := verified(); !errors.Is(err, netns.ErrGone) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing at the path: got %v, want ErrGone", err)
	}
}
