package link

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestKernelFilters: the kernel sends nothing about other links, however many there are.
func TestKernelFilters(t *testing.T) {
	g, c, d := onVeth(t)
	var batch strings.Builder
	batch.WriteString("link add crowd0 type veth peer name crowd1\nlink set crowd0 up\nlink set crowd1 up\n")
	for i := range 50 {
		fmt.Fprintf(&batch, "address add 10.77.%[1]d.1/24 dev crowd0\naddress add 2001:db8:77:%[1]d::1/64 dev crowd0\n", i)
		fmt.Fprintf(&batch, "route add 10.78.%[1]d.0/24 dev crowd0\nroute add 2001:db8:78:%[1]d::/64 dev crowd0 table 100\n", i)
	}
	g.batch(batch.String())
	g.in(g.pod, "address", "add", "192.0.2.7/24", "dev", "net1")
	g.in(g.pod, "route", "add", "198.51.100.0/24", "via", "192.0.2.1", "dev", "net1")
	for _, tc := range []struct {
		what string
		req  *nl.NetlinkRequest
		kind uint16
		most int
	}{
		{"IPv4 routes", routeRequest(unix.AF_INET, d.Index), unix.RTM_NEWROUTE, 2},
		{"IPv6 routes", routeRequest(unix.AF_INET6, d.Index), unix.RTM_NEWROUTE, 1}, // of fe80::/64
		{"addresses", addressRequest(d.Index), unix.RTM_NEWADDR, 2},
		{"slaves", slavesRequest(d.Index), unix.RTM_NEWLINK, 0},
	} {
		n := 0
		if err := c.stream(tc.req, tc.kind, func([]byte) error { n++; return nil }); err != nil || n > tc.most {
			t.Errorf("%s: the kernel sent %d messages (%v), want %d at most", tc.what, n, err, tc.most)
		}
	}
	if all, err := routesOf(c, d.Index); err != nil || len(all) < 2 {
		t.Errorf("routes %v (%v), want two of IPv4", all, err)
	}
}

// TestLinkGoneMeanwhile: the kernel rejects a filter for a link that is gone. The result is empty, and nothing is
// learned from it.
func TestLinkGoneMeanwhile(t *testing.T) {
	c := newFixture(t).conn()
	const noLink = 4711
	o := bond.ObservedBond{Link: bond.Link{Index: noLink}}
	if err := c.observeNetwork(&bond.Record{}, &o); err != nil || len(o.Addresses)+len(o.Routes) > 0 || o.Unread == "" {
		t.Errorf("%+v (%v)", o, err)
	}
	if slaves, err := c.slavesOf(noLink, &bond.Record{}); err != nil || len(slaves) > 0 {
		t.Errorf("slaves %v (%v)", slaves, err)
	}
}

// TestRoutesOverSeveralLinks: the kernel finds a link among the next hops of a route, also in nexthop objects.
func TestRoutesOverSeveralLinks(t *testing.T) {
	g, c, d := onVeth(t)
	g.batch(`link add crowd0 type veth peer name crowd1
link set crowd0 up
link set crowd1 up
address add 192.0.2.7/24 dev net1
address add 203.0.113.7/24 dev crowd0
address add 2001:db8:1::7/64 dev net1 nodad
address add 2001:db8:2::7/64 dev crowd0 nodad
route add 10.1.0.0/16 nexthop via 203.0.113.1 dev crowd0 nexthop via 192.0.2.1 dev net1
route add 2001:db8:a::/48 nexthop via 2001:db8:2::1 dev crowd0 nexthop via 2001:db8:1::1 dev net1
nexthop add id 1 via 203.0.113.1 dev crowd0
nexthop add id 2 via 192.0.2.1 dev net1
nexthop add id 3 group 1/2
nexthop add id 4 via 2001:db8:1::1 dev net1
route add 10.2.0.0/16 nhid 2
route add 10.3.0.0/16 nhid 3
route add 10.4.0.0/16 nhid 1
route add 2001:db8:b::/48 nhid 4
`)
	all, err := routesOf(c, d.Index)
	kit.Must(t, err)
	var got []string
	for _, r := range all {
		if r.Gateway.IsValid() {
			got = append(got, r.String())
		}
	}
	slices.Sort(got)
	want := []string{
		"10.1.0.0/16 via 192.0.2.1", "10.2.0.0/16 via 192.0.2.1", "10.3.0.0/16 via 192.0.2.1",
		"2001:db8:a::/48 via 2001:db8:1::1", "2001:db8:b::/48 via 2001:db8:1::1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("routes\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestStreamEndsWithTheContext ends the context in the middle of a dump.
func TestStreamEndsWithTheContext(t *testing.T) {
	g := newFixture(t)
	var batch strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&batch, "route add 10.78.%d.%d/32 dev lo\n", i/256, i%256)
	}
	g.in(g.pod, "link", "set", "lo", "up")
	g.batch(batch.String())
	ctx, cancel := context.WithCancel(t.Context())
	c, err := g.k.openPod(ctx, g.r.Sandbox)
	kit.Must(t, err)
	defer c.close()
	n := 0
	err = c.routes(1, func(bond.Route) {
		if n++; n == 10 {
			cancel()
		}
	})
	if err != ctx.Err() || n < 10 || n >= 2000 { //nolint:errorlint // the same error
		t.Errorf("%v after %d routes, want %v after one part of the dump", err, n, ctx.Err())
	}
}

func TestParseRouteRejects(t *testing.T) {
	hops := nl.NewRtAttr(unix.RTA_MULTIPATH, []byte{200, 0, 0, 0, 1, 0, 0, 0}).Serialize() // a hop longer than the attribute
	msg := (&nl.RtMsg{RtMsg: unix.RtMsg{Family: unix.AF_INET}}).Serialize()
	for name, m := range map[string][]byte{"cut": msg[:5], "hop": append(msg, hops...), "attribute": append(slices.Clone(msg), 200, 0, 1, 0)} {
		if r, err := parseRoute(m); err == nil {
			t.Errorf("%s: read as %+v", name, r)
		}
	}
}
