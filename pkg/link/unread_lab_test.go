//go:build lab

package link

import (
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// A bond that goes down or is deleted between the reading of its link and of its routes is not seen as up without
// routes: their absence would be learned as another writer's change.
func TestBondChangesWhileItIsObserved(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change []string
		unread bool
	}{
		{"down", []string{"link", "set", "bond0", "down"}, false},
		{"deleted", []string{"link", "del", "bond0"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := newFixture(t)
			g.in(g.pod, "link", "add", "bond0", "type", "bond", "mode", "active-backup")
			g.in(g.pod, "addr", "add", "192.0.2.7/24", "dev", "bond0")
			g.in(g.pod, "link", "set", "bond0", "up")
			c := g.conn()
			o := bond.Observed{Members: make([]bond.ObservedMember, len(g.r.Members))}
			if err := c.observe(g.r, &o); err != nil || o.Bond == nil || !o.Bond.Up {
				t.Fatalf("bond %+v, error %v", o.Bond, err)
			}
			g.in(g.pod, tc.change...)
			kit.Must(t, c.observeNetwork(g.r, o.Bond))
			if tc.unread != (o.Bond.Unread != "") || !tc.unread && o.Bond.Up {
				t.Errorf("up %t, unread %q, routes %v", o.Bond.Up, o.Bond.Unread, o.Bond.Routes)
			}
		})
	}
}

// TestLinksAreObservedDuringALongRead: a member that is lost while addresses and routes are read is repaired before the
// read ends, three times in a row at most.
func TestLinksAreObservedDuringALongRead(t *testing.T) {
	g := newFixture(t)
	g.member("net1")
	g.in(g.pod, "link", "add", "bond0", "type", "bond", "mode", "active-backup")
	g.in(g.pod, "link", "set", "net1", "master", "bond0")
	g.in(g.pod, "link", "set", "bond0", "up")
	g.r.Phase = bond.PhaseReady
	g.k.searchAgain = 0
	read := func() bond.Observed {
		t.Helper()
		pod, o, err := g.k.observeLinks(t.Context(), g.r)
		defer pod.close()
		if err != nil || o.LinksDiffer() {
			t.Fatalf("%+v (%v)", o, err)
		}
		g.in(g.pod, "link", "set", "net1", "nomaster")
		kit.Must(t, g.k.observeNetwork(t.Context(), pod, g.r, &o))
		g.in(g.pod, "link", "set", "net1", "master", "bond0")
		return o
	}
	for range maxPostponed {
		if o := read(); o.Bond.Unread == "" || o.Members[0].Link.Master != 0 {
			t.Errorf("unread %q, member %+v; want the member as it is now", o.Bond.Unread, o.Members[0].Link)
		}
	}
	if o := read(); o.Bond.Unread != "" {
		t.Errorf("put off more than %d times", maxPostponed)
	}
}
