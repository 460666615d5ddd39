package link

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netns"
	"github.com/bondkeeper/bondkeeper/pkg/netns/netnstest"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

func sandboxAt(t testing.TB, path string) bond.Sandbox {
	t.Helper()
	sandbox, err := netns.SandboxAt(path)
	kit.Must(t, err)
	return sandbox
}

func TestForeignClaim(t *testing.T) {
	ownPath, theirs, dead := netnstest.New(t), netnstest.New(t), netnstest.New(t)
	netnstest.Delete(t, dead)
	unmounted := netnstest.New(t)
	netnstest.Unmount(t, unmounted)
	alias := filepath.Join(t.TempDir(), "alias")
	link(t, ownPath, alias)
	own := sandboxAt(t, ownPath)
	for _, tc := range []struct {
		name, claim string
		own         bond.Sandbox
		want        string
	}{
		{"none", "", own, ""},
		{"empty", "\n", own, ""},
		{"broken", "/run/\x00netns", own, ""},
		{"own", ownPath, own, ""},
		{"own by another path", alias, own, ""},
		{"theirs", theirs + "\n", own, theirs},
		{"a dead pod's", dead, own, ""},
		{"a dead pod's with its file", unmounted, own, ""},
		{"own by path, but another netns by now", ownPath, bond.Sandbox{Path: ownPath, Dev: own.Dev, Inode: 1}, ownPath},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := claims{dir: t.TempDir()}
			if tc.claim != "" {
				write(t, filepath.Join(c.dir, string(someVF)), tc.claim)
			}
			got, err := c.foreign(someVF, tc.own)
			if err != nil || got != tc.want {
				t.Errorf("foreign claim %q (%v), want %q", got, err, tc.want)
			}
		})
	}
	if _, err := (claims{dir: "/proc/self/status"}).foreign(someVF, own); err == nil {
		t.Error("a directory of claims that cannot be read passed for one without claims")
	}
}

// TestOddClaims: a claim that is not a small text file prevents changes of its VF. It is neither waited for nor read
// completely.
func TestOddClaims(t *testing.T) {
	theirs := netnstest.New(t)
	own := sandboxAt(t, netnstest.New(t))
	c := claims{dir: t.TempDir()}
	path := c.path(someVF)
	for name, make := range map[string]func() error{
		"pipe":        func() error { return unix.Mkfifo(path, 0o600) },
		"symlink":     func() error { return os.Symlink(theirs, path) },
		"directory":   func() error { return os.Mkdir(path, 0o700) },
		"long":        func() error { return os.WriteFile(path, bytes.Repeat([]byte("/a"), 1<<20), 0o600) },
		"unprintable": func() error { return os.WriteFile(path, []byte("/run/netns/\x1b[2J"), 0o600) },
	} {
		kit.Must(t, make())
		if found, err := c.read(someVF, own); err == nil || found != (claim{}) || len(err.Error()) > 1000 {
			t.Errorf("%s: claim %+v, error %v", name, found, err)
		}
		kit.Must(t, os.Remove(path))
	}
}
