//go:build lab

package link

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestNodesDefaultQdisc: what the kernel gives a VF by the node's default is not another writer's traffic control.
func TestNodesDefaultQdisc(t *testing.T) {
	const sysctl = "/proc/sys/net/core/default_qdisc"
	before, err := os.ReadFile(sysctl)
	kit.Must(t, err)
	set := func(kind string) { kit.Must(t, os.WriteFile(sysctl, []byte(kind), 0)) }
	t.Cleanup(func() { set(strings.TrimSpace(string(before))) })
	set("pfifo") // which needs no module
	g := newVFFixture(t)
	g.in(g.host, "link", "set", g.netdev(g.vf), "netns", g.pod, "name", "net1")
	g.in(g.pod, "link", "set", "net1", "up")
	c := g.conn()
	named := func() []string {
		t.Helper()
		d, err := c.byName("net1", false)
		kit.Must(t, err)
		if d.qdisc != "pfifo" {
			t.Fatalf("the root qdisc is %q, want the node's default", d.qdisc)
		}
		return c.trafficControl(d, true)
	}
	if tc := named(); tc == nil || len(tc) > 0 {
		t.Errorf("by the node's default it has %q, known: %t", tc, tc != nil)
	}
	set("pfifo_fast")
	if tc := named(); !slices.Equal(tc, []string{"root qdisc pfifo"}) {
		t.Errorf("beside another default of the node it has %q", tc)
	}
}
