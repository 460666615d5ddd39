package netns_test

import (
	"errors"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/netns"
	"github.com/bondkeeper/bondkeeper/pkg/netns/netnstest"
)

func identityOf(t *testing.T, path string) netns.Identity {
	t.Helper()
	id, err := netns.IdentityOf(path)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// enter opens path as want and goes in.
func enter(path string, want netns.Identity) error {
	ns, err := netns.OpenVerified(path, want)
	if err != nil {
		return err
	}
	defer func() { _ = ns.Close() }()
	return ns.Do(func() error { return nil })
}

func TestIdentityIsWhole(t *testing.T) {
	path := netnstest.New(t)
	id := identityOf(t, path)
	if short, err := netns.Identify(path); err != nil || id.ID != short || id.Boot == "" || id.Cookie == 0 {
		t.Errorf("identity %+v, ID %v (%v): want the same ID, a boot and a cookie", id, short, err)
	}
	if other := identityOf(t, netnstest.New(t)); other.Boot != id.Boot || other.Cookie == id.Cookie {
		t.Errorf("of two netns: %+v and %+v", id, other)
	}
	if err := enter(path, id); err != nil {
		t.Error(err)
	}
}

// TestSameIDAgain: the kernel gives inode numbers away again, so that path, device and inode can all
// be those of a netns that has ended.
func TestSameIDAgain(t *testing.T) {
	path := netnstest.New(t)
	first := identityOf(t, path)
	netnstest.Delete(t, path)
	netnstest.NewAt(t, path)
	first.ID = identityOf(t, path).ID // as luck would have it
	if err := enter(path, first); !errors.Is(err, netns.ErrGone) {
		t.Errorf("a later netns with the path and %s of the first: got %v, want ErrGone", first.ID, err)
	}
	first.Cookie = 0
	if err := enter(path, first); err != nil {
		t.Errorf("the cookie was not noted: %v", err)
	}
}

func TestEarlierBoot(t *testing.T) {
	path := netnstest.New(t)
	id := identityOf(t, path)
	id.Boot = "00000000-0000-0000-0000-000000000000"
	if err := enter(path, id); !errors.Is(err, netns.ErrEarlierBoot) || !errors.Is(err, netns.ErrGone) {
		t.Errorf("of another boot: got %v, want ErrEarlierBoot, which is ErrGone", err)
	}
	id.Boot = ""
	if err := enter(path, id); err != nil {
		t.Errorf("of a boot that was not noted: %v", err)
	}
}
