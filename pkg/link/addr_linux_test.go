package link

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netns"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// onVeth is the pod's net1, up, in place of a bond: this kernel may have no bonding driver, and addresses and routes
// work on any link.
func onVeth(t *testing.T) (*fixture, *conn, *device) {
	t.Helper()
	g := newFixture(t)
	g.member("net1")
	g.in(g.pod, "link", "set", "net1", "up")
	c := g.conn()
	d, err := c.byName("net1", false)
	kit.Must(t, err)
	return g, c, d
}

func TestAddresses(t *testing.T) {
	g, c, d := onVeth(t)
	g.r.Addresses = []bond.Address{{Prefix: netip.MustParsePrefix("fe80::aa/64")}}
	want := []string{"10.56.217.2/24", "192.0.2.7/32", "2001:db8::7/64", "fe80::aa/64"}
	for range 2 { // adding an existing address succeeds
		for _, p := range want {
			if err := c.addAddress(d, netip.MustParsePrefix(p), false); err != nil {
				t.Fatalf("%s: %v", p, err)
			}
		}
	}
	g.in(g.pod, "addr", "add", "fe80::bb/64", "dev", "net1") // in no record
	g.in(g.pod, "addr", "add", "10.9.9.9/8", "dev", "lo")
	o := bond.ObservedBond{Link: d.Link}
	err := c.observeAddresses(g.r, &o)
	got := o.Addresses
	kit.Must(t, err)
	var texts []string
	for _, p := range got {
		texts = append(texts, p.String())
	}
	slices.Sort(texts)
	if !slices.Equal(texts, want) {
		t.Errorf("addresses %v, want %v", texts, want)
	}
	out := string(g.in(g.pod, "-6", "addr", "show", "dev", "net1", "tentative"))
	if strings.Contains(out, "2001:db8::7") {
		t.Errorf("an IPv6 address waits for duplicate address detection: %s", out)
	}
}

func TestAddAddressEnablesIPv6(t *testing.T) {
	g, c, d := onVeth(t)
	if out, err := kit.Run(g.pod, "sysctl", "-w", "net.ipv6.conf.net1.disable_ipv6=1"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	kit.Must(t, c.addAddress(d, netip.MustParsePrefix("2001:db8::7/64"), false))
	o := bond.ObservedBond{Link: d.Link}
	err := c.observeAddresses(g.r, &o)
	got := o.Addresses
	if err != nil || len(got) != 1 {
		t.Errorf("addresses %v (%v), want one", got, err)
	}
}

func routesOf(c *conn, index int) (all []bond.Route, err error) {
	err = c.routes(index, func(r bond.Route) { all = append(all, r) })
	return all, err
}

// TestRoutesThatARecordCannotDescribe: such routes are marked and only counted, because a route that is restored
// incompletely would lead elsewhere.
func TestRoutesThatARecordCannotDescribe(t *testing.T) {
	g, c, d := onVeth(t)
	g.in(g.pod, "addr", "add", "10.1.0.2/24", "dev", "net1")
	g.in(g.pod, "addr", "add", "2001:db8:1::2/64", "nodad", "dev", "net1")
	before, err := routesOf(c, d.Index)
	kit.Must(t, err)
	g.in(g.pod, "route", "add", "10.9.0.0/16", "via", "inet6", "2001:db8:1::1", "dev", "net1")
	g.in(g.pod, "route", "add", "10.8.0.0/16", "via", "10.1.0.1", "tos", "0x10")
	g.in(g.pod, "-6", "route", "add", "default", "from", "2001:db8:7::/64", "via", "2001:db8:1::1", "dev", "net1")
	after, err := routesOf(c, d.Index)
	special := func(r bond.Route) bool { return r.Special }
	if slices.ContainsFunc(before, special) {
		t.Errorf("special routes before: %v", before)
	}
	others := slices.DeleteFunc(slices.Clone(after), special)
	if err != nil || len(others) != len(before) || len(after) != len(before)+3 {
		t.Errorf("routes %v before, %v after (%v)", before, after, err)
	}
}

func TestRoutes(t *testing.T) {
	g, c, d := onVeth(t)
	g.in(g.pod, "addr", "add", "10.1.0.2/24", "dev", "net1")
	g.in(g.pod, "addr", "add", "2001:db8:1::2/64", "nodad", "dev", "net1")
	gw4, gw6 := netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("2001:db8:1::1")
	dst := netip.MustParsePrefix
	routes := []bond.Route{
		{Dst: dst("0.0.0.0/0"), Gateway: gw4},
		{Dst: dst("10.2.0.0/16"), Gateway: gw4, MTU: 1400, AdvMSS: 1300, Priority: 50},
		{Dst: dst("10.3.0.0/16")},
		{Dst: dst("10.4.0.0/16"), Table: new(1000), Gateway: gw4},
		{Dst: dst("10.5.0.0/16"), Scope: new(int(unix.RT_SCOPE_UNIVERSE))},
		{Dst: dst("::/0"), Gateway: gw6, Priority: 1024},
		{Dst: dst("2001:db8:2::/64"), Priority: 1024},
		{Dst: dst("2001:db8:3::/64"), Gateway: gw6, Table: new(1000), Priority: 7, MTU: 1400},
	}
	for range 2 { // adding an existing route succeeds
		for _, r := range routes {
			if err := c.addRoute(d, r); err != nil {
				t.Fatalf("%s: %v", r, err)
			}
		}
	}
	g.in(g.pod, "route", "add", "10.99.0.0/16", "dev", "net1", "table", "local")
	got, err := routesOf(c, d.Index)
	kit.Must(t, err)
	for _, want := range routes {
		n := 0
		for _, r := range got {
			want.Proto = unix.RTPROT_BOOT // the default protocol
			if reflect.DeepEqual(r, want) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%s: found %d times in %v", want, n, got)
		}
	}
	for _, r := range got {
		if r.Dst.Addr().IsMulticast() || r.Dst.Bits() == r.Dst.Addr().BitLen() || r.Dst.String() == "10.99.0.0/16" {
			t.Errorf("a route of the local table: %s", r)
		}
	}
}

// TestAddRouteBesideAnother: the cluster network's default route stays, and the bond's is added.
func TestAddRouteBesideAnother(t *testing.T) {
	g, c, d := onVeth(t)
	g.member("eth0")
	g.in(g.pod, "link", "set", "eth0", "up")
	for i, name := range []string{"net1", "eth0"} {
		n := string(rune('1' + i))
		g.in(g.pod, "addr", "add", "10."+n+".0.2/24", "dev", name)
		g.in(g.pod, "addr", "add", "2001:db8:"+n+"::2/64", "nodad", "dev", name)
	}
	g.in(g.pod, "route", "add", "default", "via", "10.2.0.1")
	g.in(g.pod, "-6", "route", "add", "default", "via", "2001:db8:2::1")
	for _, r := range []bond.Route{
		{Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.1.0.1")},
		{Dst: netip.MustParsePrefix("::/0"), Gateway: netip.MustParseAddr("2001:db8:1::1")},
	} {
		kit.Must(t, c.addRoute(d, r))
		for name, gw := range map[string]string{"net1": "1", "eth0": "2"} {
			got, err := routesOf(c, g.show(g.pod, name).Index)
			kit.Must(t, err)
			if !slices.ContainsFunc(got, func(have bond.Route) bool {
				return have.Dst == r.Dst && (have.Gateway.String() == "10."+gw+".0.1" || have.Gateway.String() == "2001:db8:"+gw+"::1")
			}) {
				t.Errorf("%s has no route %s of its own: %v", name, r.Dst, got)
			}
		}
	}
}

// TestAnnounce listens on the veth's peer.
func TestAnnounce(t *testing.T) {
	g, c, d := onVeth(t)
	host, err := netns.Open(g.host)
	kit.Must(t, err)
	defer func() { _ = host.Close() }()
	peer := g.show(g.host, "p-net1").Index
	var s int
	err = host.Do(func() (err error) {
		s, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(bigEndian(unix.ETH_P_ALL)))
		return err
	})
	kit.Must(t, err)
	defer func() { _ = unix.Close(s) }()
	kit.Must(t, unix.Bind(s, &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_ALL), Ifindex: peer}))
	v4, v6 := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")
	kit.Must(t, c.announce(d, []netip.Addr{v4, v6}))
	wantARP := append(ethernet(d.MAC, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 0x08, 0x06), gratuitousARP(d.MAC, v4)...)
	wantNA := append(ethernet(d.MAC, []byte{0x33, 0x33, 0, 0, 0, 1}, 0x86, 0xdd), unsolicitedNA(d.MAC, v6)...)
	if got := frames(t, s, wantARP, wantNA); got != 2 {
		t.Errorf("%d of the two announcements arrived", got)
	}
}

func ethernet(from bond.MAC, to []byte, proto ...byte) []byte {
	return append(append(append([]byte{}, to...), from.Bytes()...), proto...)
}

// frames counts the frames of want that arrive within a second.
func frames(t *testing.T, s int, want ...[]byte) (n int) {
	t.Helper()
	tv := unix.NsecToTimeval(time.Second.Nanoseconds())
	kit.Must(t, unix.SetsockoptTimeval(s, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv))
	buf := make([]byte, 2048)
	for n < len(want) {
		size, _, err := unix.Recvfrom(s, buf, 0)
		if err != nil {
			return n
		}
		if slices.ContainsFunc(want, func(w []byte) bool { return string(w) == string(buf[:size]) }) {
			n++
		}
	}
	return n
}

// TestUnsolicitedNAIsValid computes the checksum over packet and pseudo header as a receiver does; the result must be
// zero.
func TestUnsolicitedNAIsValid(t *testing.T) {
	ip := netip.MustParseAddr("2001:db8::7")
	p := unsolicitedNA("02:00:00:00:00:01", ip)
	const neighbourAdvertisement, override = 136, 0x20
	if len(p) != 40+32 || p[7] != 255 || p[40] != neighbourAdvertisement || p[44] != override {
		t.Fatalf("% x", p)
	}
	pseudo := append(append([]byte{}, p[8:40]...), 0, 0, 0, 32, 0, 0, 0, 58)
	if sum := checksum(append(pseudo, p[40:]...)); sum != 0 {
		t.Errorf("checksum of it all is %#x, want 0", sum)
	}
}
