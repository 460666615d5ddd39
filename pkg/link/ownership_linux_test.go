package link

import (
	"path/filepath"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netns"
	"github.com/bondkeeper/bondkeeper/pkg/netns/netnstest"
)

func sandboxAt(t testing.TB, path string) bond.Sandbox {
	t.Helper()
	id, err := netns.IdentityOf(path)
	if err != nil {
		t.Fatal(err)
	}
	return bond.Sandbox{Path: path, Dev: id.Dev, Inode: id.Inode, Boot: id.Boot, Cookie: id.Cookie}
}

func TestForeignClaim(t *testing.T) {
	ours, theirs, dead := netnstest.New(t), netnstest.New(t), netnstest.New(t)
	netnstest.Delete(t, dead)
	unmounted := netnstest.New(t)
	netnstest.Unmount(t, unmounted)
	alias := filepath.Join(t.TempDir(), "alias")
	link(t, ours, alias)
	own := sandboxAt(t, ours)
	for _, tc := range []struct {
		name, claim string
		own         bond.Sandbox
		want        string
	}{
		{"none", "", own, ""},
		{"empty", "\n", own, ""},
		{"broken", "/run/\x00netns", own, ""},
		{"ours", ours, own, ""},
		{"ours by another path", alias, own, ""},
		{"theirs", theirs + "\n", own, theirs},
		{"a dead pod's", dead, own, ""},
		{"a dead pod's with its file", unmounted, own, ""},
		{"ours by path, but another netns by now", ours, bond.Sandbox{Path: ours, Dev: own.Dev, Inode: 1}, ours},
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
