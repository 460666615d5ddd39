package link

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netns"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// fillAltNames adds alternative names to a link until the kernel rejects one, which it does at 64 KiB in total.
func (g *fixture) fillAltNames(index int) (n int) {
	g.Helper()
	ns, err := netns.Open(g.pod)
	kit.Must(g, err)
	defer func() { _ = ns.Close() }()
	l := &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: index}}
	err = ns.Do(func() error {
		for n < 2000 && netlink.LinkAddAltName(l, fmt.Sprintf("%04d-%s", n, strings.Repeat("x", 122))) == nil {
			n++
		}
		return nil
	})
	if err != nil || n < 400 {
		g.Fatalf("the kernel took %d alternative names; %v", n, err)
	}
	return n
}

// TestLongestLinkMessage: a pod can make the message about a link longer than 64 KiB. The link must still be readable,
// alone and among others; otherwise repair and DEL would be impossible.
func TestLongestLinkMessage(t *testing.T) {
	g := newFixture(t)
	g.member("net1")
	g.in(g.pod, "link", "add", "br0", "type", "bridge")
	n := g.fillAltNames(g.r.Members[0].Index)
	g.in(g.pod, "link", "set", "net1", "master", "br0", "alias", strings.Repeat("a", 255))
	c, err := g.k.openPod(t.Context(), g.r.Sandbox)
	kit.Must(t, err)
	defer c.close()
	member := g.r.Members[0]
	check := func(how string, d *device, err error) {
		t.Helper()
		if err != nil || d == nil || d.Index != member.Index || len(d.altNames) != n {
			t.Errorf("%s: %v, %v", how, d, err)
		}
	}
	d, err := c.byName("net1", false)
	check("by name", d, err)
	if d, err = c.byIndex(member.Index, false); err != nil {
		t.Fatal(err)
	}
	check("by ifindex", d, err)
	all, err := c.slavesOf(d.Master)
	check("by master", all.byIndex(member.Index), err)
	all, err = c.list(allLinks, func(*device) bool { return true })
	check("in a list", all.byIndex(member.Index), err)
	if o := g.see(); o.Members[0].Location != bond.InPod {
		t.Errorf("observed: %+v", o.Members[0])
	}
}
