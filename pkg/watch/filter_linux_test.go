package watch

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestFilter: everything that enqueue uses passes the kernel's filter, and nothing else reaches the socket's buffer.
func TestFilter(t *testing.T) {
	w := pod(t, "c1")
	s := open(t)
	ids, err := openNSIDs()
	kit.Must(t, err)
	defer ids.close()
	if _, err := ids.assign(w.Sandbox); err != nil {
		t.Fatal(err)
	}
	in(t, w.Sandbox, func() error {
		l, err := netlink.LinkByName("a")
		if err != nil {
			return err
		}
		_, dst, _ := net.ParseCIDR("198.51.100.0/24")
		route := netlink.Route{LinkIndex: l.Attrs().Index, Dst: dst, Scope: netlink.SCOPE_LINK}
		replaced := route
		replaced.MTU = 1400
		return errors.Join(
			addAddress("a", "192.0.2.9/32"),                           // dropped, with its local route
			netlink.RouteAdd(&route), netlink.RouteReplace(&replaced), // dropped; passes
			netlink.RouteDel(&replaced), removeAddress(l, "192.0.2.9/32"),
			netlink.LinkSetMTU(l, 1400))
	})
	var kinds []string
	s.until(t, "the link's MTU", func(m message) bool {
		if m.kind != unix.RTM_NEWLINK && m.kind != unix.RTM_DELNSID { // netns of earlier tests lose their IDs at any time
			kinds = append(kinds, fmt.Sprintf("%d/%t", m.kind, m.flags&unix.NLM_F_REPLACE != 0))
		}
		return m.kind == unix.RTM_NEWLINK && len(kinds) > 2
	})
	want := []string{
		fmt.Sprintf("%d/true", unix.RTM_NEWROUTE), fmt.Sprintf("%d/false", unix.RTM_DELROUTE),
		fmt.Sprintf("%d/false", unix.RTM_DELROUTE), fmt.Sprintf("%d/false", unix.RTM_DELADDR),
	}
	slices.Sort(kinds)
	slices.Sort(want)
	if !slices.Equal(kinds, want) {
		t.Errorf("types and whether they replace: %q, want %q", kinds, want)
	}
}

func removeAddress(l netlink.Link, cidr string) error {
	addr, err := netlink.ParseAddr(cidr)
	if err != nil {
		return err
	}
	return netlink.AddrDel(l, addr)
}

// addRoutes causes n events in the pod, each by a new route.
func addRoutes(t *testing.T, w *bond.Record, n int) {
	t.Helper()
	in(t, w.Sandbox, func() error {
		l, err := netlink.LinkByName("a")
		if err != nil {
			return err
		}
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer h.Close()
		for i := range n {
			dst := &net.IPNet{IP: net.IPv4(10, byte(i>>16), byte(i>>8), byte(i)), Mask: net.CIDRMask(32, 32)}
			if err := h.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: dst, Scope: netlink.SCOPE_LINK}); err != nil {
				return err
			}
		}
		return nil
	})
}

// TestFloodOfAPod: a pod that adds routes causes no overrun, however small the buffer. A pod that changes its links
// does, and the report names it.
func TestFloodOfAPod(t *testing.T) {
	w := pod(t, "c1")
	ids, err := openNSIDs()
	kit.Must(t, err)
	defer ids.close()
	id, err := ids.assign(w.Sandbox)
	kit.Must(t, err)
	s, err := openSocket(1 << 16)
	kit.Must(t, err)
	t.Cleanup(func() { _ = s.close() })
	addRoutes(t, w, 2000)
	mark(t, w)
	for nsid := noNSID; nsid != id; { // the host may have events of its own
		if _, nsid, err = s.receive(); err != nil {
			t.Fatalf("after a flood of routes: %v", err)
		}
	}
	for range 500 {
		mark(t, w)
	}
	l, _ := listenTo(t, indexOf(nil))
	l.monitor.index.Store(newIndex([]*bond.Record{w}, noNSID, ids.assign))
	err = l.read(t.Context(), s)
	if !errors.Is(err, unix.ENOBUFS) || !strings.Contains(err.Error(), "come from the pod of bond "+w.Key.String()) {
		t.Errorf("after a flood of link events: %v", err)
	}
}
