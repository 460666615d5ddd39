package link

import (
	"fmt"
	"runtime"
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
		for n < 2000 && netlink.LinkAddAltName(l, fmt.Sprintf("%04d-%04d-%s", index, n, strings.Repeat("x", 117))) == nil {
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
	check := func(how string, d *device, err error, altNames int) {
		t.Helper()
		if err != nil || d == nil || d.Index != member.Index || len(d.altNames) != altNames {
			t.Errorf("%s: %v, %v", how, d, err)
		}
	}
	d, err := c.byName("net1", false)
	check("by name", d, err, n)
	if d, err = c.byIndex(member.Index, false); err != nil {
		t.Fatal(err)
	}
	check("by ifindex", d, err, n)
	all, err := c.slavesOf(d.Master, g.r)
	check("by master", all.byIndex(member.Index), err, 0)
	all, err = c.list(allLinks, func(*device, int) bool { return true })
	check("in a list", all.byIndex(member.Index), err, 0)
	if o := g.see(); o.Members[0].Location != bond.InPod {
		t.Errorf("observed: %+v", o.Members[0])
	}
}

// TestManyMembersInTheBond: a pod can put any number of links into its bond. Those of the record are found among them,
// and the others are read up to a bound.
func TestManyMembersInTheBond(t *testing.T) {
	g := newFixture(t)
	g.member("net1")
	g.member("net2")
	var batch strings.Builder
	batch.WriteString("link add br0 type bridge\nlink set net1 up\n")
	for i := range maxUnknownMembers + 20 {
		fmt.Fprintf(&batch, "link add crowd%d link net1 type macvlan\nlink set crowd%[1]d master br0\n", i)
	}
	batch.WriteString("link add last type veth peer name peer\nlink set last master br0\n")
	g.batch(batch.String())
	last := g.show(g.pod, "last")
	g.r.Members[1].Index = last.Index
	all, err := g.conn().slavesOf(g.show(g.pod, "br0").Index, g.r)
	if err != nil || len(all) > maxUnknownMembers+1 || all.byIndex(last.Index) == nil {
		t.Errorf("%d links, with that of the record: %v (%v)", len(all), all.byIndex(last.Index) != nil, err)
	}
}

// TestListedLinksAreSmall: a list does not keep the messages that its links were read from.
func TestListedLinksAreSmall(t *testing.T) {
	g := newFixture(t)
	const links = 4
	for i := range links {
		name := fmt.Sprintf("long%d", i)
		g.member(name)
		g.fillAltNames(g.r.Members[i].Index)
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	c := g.conn()
	_, err := c.list(allLinks, func(*device, int) bool { return false }) // makes the buffer
	kit.Must(t, err)
	before := heap()
	all, err := c.list(allLinks, func(*device, int) bool { return true })
	kit.Must(t, err)
	if size := int64(heap()) - int64(before); len(all) < links || size > links*16<<10 { //nolint:gosec // small
		t.Errorf("%d links take %d bytes", len(all), size)
	}
	runtime.KeepAlive(all)
}
