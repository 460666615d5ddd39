package netns_test

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netns"
	"github.com/bondkeeper/bondkeeper/pkg/netns/netnstest"
)

func sandboxAt(t *testing.T, path string) bond.Sandbox {
	t.Helper()
	s, err := netns.SandboxAt(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// enter opens the sandbox's netns and enters it.
func enter(s bond.Sandbox) error {
	ns, err := netns.OpenSandbox(s)
	if err != nil {
		return err
	}
	defer func() { _ = ns.Close() }()
	return ns.Do(func() error { return nil })
}

func TestIdentityIsComplete(t *testing.T) {
	path := netnstest.New(t)
	id := sandboxAt(t, path)
	if short, err := netns.Identify(path); err != nil || id.Path != path || id.Dev != short.Dev || id.Inode != short.Inode || id.Boot == "" || id.Cookie == 0 {
		t.Errorf("identity %+v, ID %v (%v): want the same ID, a boot and a cookie", id, short, err)
	}
	if other := sandboxAt(t, netnstest.New(t)); other.Boot != id.Boot || other.Cookie == id.Cookie {
		t.Errorf("of two netns: %+v and %+v", id, other)
	}
	if err := enter(id); err != nil {
		t.Error(err)
	}
}

// TestSameIDAgain: the kernel reuses inode numbers, so path, device and inode can all be those of a netns that has
// ended.
func TestSameIDAgain(t *testing.T) {
	path := netnstest.New(t)
	first := sandboxAt(t, path)
	netnstest.Delete(t, path)
	netnstest.NewAt(t, path)
	now := sandboxAt(t, path)
	first.Dev, first.Inode = now.Dev, now.Inode // as can happen by chance
	if err := enter(first); !errors.Is(err, netns.ErrGone) {
		t.Errorf("a later netns with the path and inode %d of the first: got %v, want ErrGone", first.Inode, err)
	}
	first.Cookie = 0
	if err := enter(first); err != nil {
		t.Errorf("the cookie was not noted: %v", err)
	}
}

func TestEarlierBoot(t *testing.T) {
	path := netnstest.New(t)
	id := sandboxAt(t, path)
	id.Boot = "00000000-0000-0000-0000-000000000000"
	if err := enter(id); !errors.Is(err, netns.ErrEarlierBoot) || !errors.Is(err, netns.ErrGone) {
		t.Errorf("of another boot: got %v, want ErrEarlierBoot, which is ErrGone", err)
	}
	id.Boot = ""
	if err := enter(id); err != nil {
		t.Errorf("of a boot that was not noted: %v", err)
	}
}

// TestOpenSocketVerifies: the socket itself shows that another netns is at the path.
func TestOpenSocketVerifies(t *testing.T) {
	path := netnstest.New(t)
	first := sandboxAt(t, path)
	netnstest.Delete(t, path)
	netnstest.NewAt(t, path)
	now := sandboxAt(t, path)
	use := func(s bond.Sandbox) error {
		ns, err := netns.OpenSandbox(s)
		if err != nil {
			return err
		}
		defer func() { _ = ns.Close() }()
		return ns.OpenSocket(func() (int, error) {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			t.Cleanup(func() { _ = unix.Close(fd) })
			return fd, err
		})
	}
	if err := use(now); err != nil {
		t.Error(err)
	}
	first.Dev, first.Inode = now.Dev, now.Inode // as can happen by chance
	if err := use(first); !errors.Is(err, netns.ErrGone) {
		t.Errorf("a later netns with the path and inode of the first: got %v, want ErrGone", err)
	}
}

func TestAtPath(t *testing.T) {
	path := netnstest.New(t)
	ns, err := netns.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ns.Close() }()
	if !ns.AtPath() {
		t.Error("it is not at its path")
	}
	netnstest.Delete(t, path)
	if ns.AtPath() {
		t.Error("its path is gone")
	}
	netnstest.NewAt(t, path)
	if ns.AtPath() {
		t.Error("another netns is at its path")
	}
}
