package link

import (
	"slices"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestLinksOnTop uses a veth, so that it runs without the bonding driver.
func TestLinksOnTop(t *testing.T) {
	g := newFixture(t)
	g.veth(g.pod, "bond0")
	c := g.conn()
	onTop := func(want ...string) {
		t.Helper()
		d, err := c.byName("bond0", false)
		kit.Must(t, err)
		if got, ok := c.linksOnTop(&d.Link); !ok || !slices.Equal(got, want) {
			t.Errorf("on top: %v (known: %t), want %v", got, ok, want)
		}
	}
	onTop()
	g.batch("link add br0 type bridge\nlink set bond0 master br0\n")
	onTop() // a master is not on top
	g.batch("link set bond0 nomaster\nlink add above2 link bond0 type macvlan mode private\nlink add above1 link bond0 type macvlan mode private\n")
	onTop("above1", "above2")
	g.batch("link del above1\n")
	onTop("above2")
	d, err := c.byName("bond0", false)
	kit.Must(t, err)
	g.batch("link del bond0\n")
	if got, ok := c.linksOnTop(&d.Link); ok {
		t.Errorf("on top of a link that is gone: %v", got)
	}
}
