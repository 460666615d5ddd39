package linktest

import (
	"net/netip"
	"reflect"
	"slices"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

var networkCases = []contractCase{
	{"add addresses", bonding_, addAddresses},
	{"remove addresses", bonding_, delAddresses},
	{"an IPv6 address with another prefix length is another one", bonding_, otherPrefix},
	{"an IPv6 route with another MTU is another one", bonding_, otherMTU},
	{"IPv4 routes with different MTUs are different ones", bonding_, otherMTU4},
	{"a route over several links is not the bond's alone", bonding_, sharedRoutes},
	{"add routes", bonding_, addRoutes},
	{"a route is reported as it was added", bonding_, routesReported},
	{"a route needs the bond up and its gateway there", bonding_, routeRejected},
	{"a gateway that is no neighbour is rejected for good", bonding_, gateways},
	{"routes and IPv6 addresses go when the bond goes down", bonding_, networkDown},
	{"IPv6 addresses stay when the bond goes down, if the bond is configured so", bonding_, networkRestored},
	{"an address with duplicate address detection is used after it", bonding_, addressDetected},
	{"flushed addresses are gone", bonding_, networkFlushed},
	{"routes are deleted, also those that the kernel made", bonding_, deleteRoutes},
	{"announcing changes nothing", bonding_, announce},
	{"addresses and routes are read after a member that is to be attached", bonding_, readAfterMembers},
}

var (
	v4, v6     = addr("192.0.2.1/24"), addr("2001:db8::1/64")
	gw4, gw6   = netip.MustParseAddr("192.0.2.254"), netip.MustParseAddr("2001:db8::fe")
	dst4, dst6 = addr("198.51.100.0/24"), addr("2001:db8:1::/48")
)

// networked is a bond that carries traffic, with both addresses.
func (s *fixture) networked() {
	s.Helper()
	s.bonded(activeBackup())
	for _, p := range []netip.Prefix{v4, v6} {
		s.apply(plan.AddAddress{Bond: s.bond(), Prefix: p})
	}
}

func hasRoute(o bond.Observed, r bond.Route) bool {
	return slices.ContainsFunc(o.Bond.Routes, func(have bond.Route) bool {
		return have.Dst == r.Dst && have.Gateway == r.Gateway
	})
}

func addAddresses(s *fixture) {
	s.create(activeBackup())
	for _, p := range []netip.Prefix{v4, v6, v4, v6} { // adding an existing one succeeds
		s.apply(plan.AddAddress{Bond: s.bond(), Prefix: p}) // a bond that is down accepts them, too
	}
	s.equal("addresses of a bond that is down", s.see().Bond.Addresses, []netip.Prefix{v4, v6})
	s.apply(plan.SetUp{Link: s.bond()})
	s.equal("addresses", s.see().Bond.Addresses, []netip.Prefix{v4, v6})
}

// otherPrefix: a link has an IPv6 address only once, so the one with another prefix length is removed first. IPv4
// allows both.
func otherPrefix(s *fixture) {
	s.networked()
	other := netip.PrefixFrom(v6.Addr(), 80)
	s.rejected(plan.AddAddress{Bond: s.bond(), Prefix: other}, bond.ErrStale)
	s.apply(plan.DelAddress{Bond: s.bond(), Prefix: v6})
	for range 2 {
		s.apply(plan.AddAddress{Bond: s.bond(), Prefix: other})
	}
	s.apply(plan.AddAddress{Bond: s.bond(), Prefix: netip.PrefixFrom(v4.Addr(), 25)})
	s.equal("addresses", s.see().Bond.Addresses, []netip.Prefix{v4, netip.PrefixFrom(v4.Addr(), 25), other})
}

// otherMTU: the kernel does not distinguish IPv6 routes by MTU, so the one with another MTU is removed first.
func otherMTU(s *fixture) {
	s.networked()
	was := bond.Route{Dst: dst6, Gateway: gw6, MTU: 1300}
	want := was
	want.MTU = 1400
	s.apply(plan.AddRoute{Bond: s.bond(), Route: was})
	s.rejected(plan.AddRoute{Bond: s.bond(), Route: want}, bond.ErrStale)
	for _, have := range s.see().Bond.Routes {
		if have.Dst == dst6 {
			s.apply(plan.DeleteRoute{Bond: s.bond(), Route: have})
		}
	}
	for range 2 {
		s.apply(plan.AddRoute{Bond: s.bond(), Route: want})
	}
	n := 0
	for _, have := range s.see().Bond.Routes {
		if have.Dst == dst6 {
			s.equal("MTU of the route", have.MTU, 1400)
			n++
		}
	}
	s.equal("routes", n, 1)
}

// mtusTo are the MTUs of the routes to a destination, of those with (shared) or without further next hops.
func (s *fixture) mtusTo(dst netip.Prefix, shared bool) (mtus []int) {
	s.Helper()
	for _, have := range s.see().Bond.Routes {
		if have.Dst == dst && have.Shared == shared {
			mtus = append(mtus, have.MTU)
		}
	}
	slices.Sort(mtus)
	return mtus
}

func otherMTU4(s *fixture) {
	s.networked()
	was, want := bond.Route{Dst: dst4, Gateway: gw4, MTU: 1300}, bond.Route{Dst: dst4, Gateway: gw4, MTU: 1400}
	for _, r := range []bond.Route{was, want, want, was} {
		s.apply(plan.AddRoute{Bond: s.bond(), Route: r})
	}
	s.equal("MTUs of the routes", s.mtusTo(dst4, false), []int{1300, 1400})
	s.apply(plan.DeleteRoute{Bond: s.bond(), Route: was})
	s.equal("MTUs of the routes", s.mtusTo(dst4, false), []int{1400})
}

// sharedRoutes: another writer's route over several links remains when a route of the bond to the same destination is
// added or deleted.
func sharedRoutes(s *fixture) {
	s.networked()
	_, err := s.w.AddImpostor(s.path, "other0")
	s.must(err, "make another link")
	s.must(s.w.SetUp(s.path, "other0"), "set it up")
	s.must(s.w.AddAddresses(s.path, "other0", []netip.Prefix{addr("203.0.113.1/24")}), "give it an address")
	hops := [2]Hop{{Link: "other0", Gateway: netip.MustParseAddr("203.0.113.254")}, {Link: "bond0", Gateway: gw4}}
	s.must(s.w.AddSharedRoute(s.path, bond.Route{Dst: dst4, MTU: 1300}, hops), "add a route over both")
	s.equal("MTUs of the shared route", s.mtusTo(dst4, true), []int{1300})
	own := bond.Route{Dst: dst4, Gateway: gw4, MTU: 1400}
	for range 2 {
		s.apply(plan.AddRoute{Bond: s.bond(), Route: own})
	}
	s.equal("MTUs of the bond's route", s.mtusTo(dst4, false), []int{1400})
	s.apply(plan.DeleteRoute{Bond: s.bond(), Route: own})
	s.equal("MTUs of the bond's route", s.mtusTo(dst4, false), []int(nil))
	s.equal("MTUs of the shared route", s.mtusTo(dst4, true), []int{1300})
}

// delAddresses: deleting the last IPv4 address deletes the IPv4 routes, even if there is an IPv6 address.
func delAddresses(s *fixture) {
	s.networked()
	r4, r6 := bond.Route{Dst: dst4, Gateway: gw4}, bond.Route{Dst: dst6, Gateway: gw6}
	s.apply(plan.AddRoute{Bond: s.bond(), Route: r4})
	s.apply(plan.AddRoute{Bond: s.bond(), Route: r6})
	for range 2 { // deleting a missing one succeeds
		s.apply(plan.DelAddress{Bond: s.bond(), Prefix: v4})
	}
	o := s.see()
	s.equal("addresses", o.Bond.Addresses, []netip.Prefix{v6})
	if hasRoute(o, r4) || !hasRoute(o, r6) {
		s.Errorf("routes: %v", o.Bond.Routes)
	}
}

func addRoutes(s *fixture) {
	s.networked()
	all := []bond.Route{{Dst: dst4, Gateway: gw4}, {Dst: dst6, Gateway: gw6}, {Dst: addr("203.0.113.0/24")}, {Dst: addr("0.0.0.0/0"), Gateway: gw4}}
	for range 2 { // adding an existing one succeeds
		for _, r := range all {
			s.apply(plan.AddRoute{Bond: s.bond(), Route: r})
		}
	}
	o := s.see()
	for _, r := range all {
		n := 0
		for _, have := range o.Bond.Routes {
			if have.Dst == r.Dst && have.Gateway == r.Gateway {
				n++
			}
		}
		if n != 1 {
			s.Errorf("route %s is there %d times among %v", r, n, o.Bond.Routes)
		}
	}
	for _, p := range []netip.Prefix{v4, v6} {
		if !hasRoute(o, bond.Route{Dst: p.Masked()}) {
			s.Errorf("the kernel's own route of %s is not reported: %v", p, o.Bond.Routes)
		}
	}
}

func routesReported(s *fixture) {
	s.networked()
	all := []bond.Route{
		{Dst: dst4, Gateway: gw4, MTU: 1300, AdvMSS: 1200, Priority: 50, Table: new(100), Proto: protoBoot},
		{Dst: dst6, Gateway: gw6, MTU: 1300, AdvMSS: 1200, Priority: 50, Table: new(100), Proto: 4}, // RTPROT_STATIC
		{Dst: addr("203.0.113.0/24"), Scope: new(200), Proto: protoBoot},                            // RT_SCOPE_SITE
		{Dst: addr("203.0.113.128/25"), Src: v4.Addr(), Proto: protoBoot},
		{Dst: addr("203.0.113.128/26"), Gateway: netip.MustParseAddr("100.64.0.1"), OnLink: true, Proto: protoBoot},
	}
	for _, r := range all {
		s.apply(plan.AddRoute{Bond: s.bond(), Route: r})
	}
	have := s.see().Bond.Routes
	for _, r := range all {
		if !slices.ContainsFunc(have, func(h bond.Route) bool { return reflect.DeepEqual(h, r) }) {
			s.Errorf("route %s is not reported as %s: %s", r, oneLine(r), oneLine(have))
		}
	}
	// An IPv6 route without a metric gets the kernel's (IP6_RT_PRIO_USER).
	s.apply(plan.AddRoute{Bond: s.bond(), Route: bond.Route{Dst: dst6, Gateway: gw6}})
	want := bond.Route{Dst: dst6, Gateway: gw6, Priority: 1024, Proto: protoBoot}
	if have := s.see().Bond.Routes; !slices.ContainsFunc(have, func(h bond.Route) bool { return reflect.DeepEqual(h, want) }) {
		s.Errorf("route %s is not reported with metric 1024: %s", want, oneLine(have))
	}
}

func routeRejected(s *fixture) {
	s.create(activeBackup())
	s.apply(plan.AddAddress{Bond: s.bond(), Prefix: v4})
	s.rejected(plan.AddRoute{Bond: s.bond(), Route: bond.Route{Dst: dst4, Gateway: gw4}}, bond.ErrBusy)
	s.rejected(plan.AddRoute{Bond: s.bond(), Route: bond.Route{Dst: dst4}}, bond.ErrBusy)
	s.apply(plan.SetUp{Link: s.bond()})
	s.rejected(plan.AddRoute{Bond: s.bond(), Route: bond.Route{Dst: dst4, Gateway: netip.MustParseAddr("203.0.113.1")}}, bond.ErrInvalid)
}

// gateways: which gateways the kernel accepts on a bond that is up. It rejects the others permanently.
func gateways(s *fixture) {
	s.networked()
	gw := netip.MustParseAddr
	for _, r := range []bond.Route{
		{Dst: dst4, Gateway: gw("203.0.113.1")},
		{Dst: dst6, Gateway: gw("2001:db8:ff::1")},
		{Dst: dst6, Gateway: v6.Addr()},
		{Dst: dst4, Gateway: gw("203.0.113.1"), Table: new(100)},
	} {
		s.rejected(plan.AddRoute{Bond: s.bond(), Route: r}, bond.ErrInvalid)
	}
	for _, r := range []bond.Route{
		{Dst: addr("203.0.113.1/32"), Table: new(100)},
		{Dst: addr("2001:db8:ff::/64")},
	} {
		s.apply(plan.AddRoute{Bond: s.bond(), Route: r})
	}
	s.rejected(plan.AddRoute{Bond: s.bond(), Route: bond.Route{Dst: dst4, Gateway: gw("203.0.113.1")}}, bond.ErrInvalid) // not in its table
	for _, r := range []bond.Route{
		{Dst: dst4, Gateway: gw("203.0.113.1"), Table: new(100)},
		{Dst: dst6, Gateway: gw("2001:db8:ff::1")},
		{Dst: dst6, Gateway: gw("fe80::1"), Priority: 7},
		{Dst: dst4, Gateway: v4.Addr()},
	} {
		s.apply(plan.AddRoute{Bond: s.bond(), Route: r})
	}
}

func networkDown(s *fixture) {
	s.networked()
	r4, r6 := bond.Route{Dst: dst4, Gateway: gw4}, bond.Route{Dst: dst6, Gateway: gw6}
	s.apply(plan.AddRoute{Bond: s.bond(), Route: r4})
	s.apply(plan.AddRoute{Bond: s.bond(), Route: r6})
	s.must(s.w.SetDown(s.path, "bond0"), "set down by hand")
	o := s.see()
	s.equal("addresses of the bond set down", o.Bond.Addresses, []netip.Prefix{v4})
	s.equal("routes of the bond set down", len(o.Bond.Routes), 0)
	s.apply(plan.SetUp{Link: s.bond()})
	o = s.see()
	s.equal("addresses of the bond up again", o.Bond.Addresses, []netip.Prefix{v4})
	if hasRoute(o, r4) || hasRoute(o, r6) || !hasRoute(o, bond.Route{Dst: v4.Masked()}) {
		s.Errorf("routes of the bond up again: %v", o.Bond.Routes)
	}
}

// deleteRoutes is what sbr does, and what restores that on a recreated bond.
func deleteRoutes(s *fixture) {
	s.networked()
	r4 := bond.Route{Dst: dst4, Gateway: gw4}
	s.apply(plan.AddRoute{Bond: s.bond(), Route: bond.Route{Dst: v4.Masked(), Src: v4.Addr(), Table: new(100), Proto: protoKernel}})
	s.apply(plan.AddRoute{Bond: s.bond(), Route: r4})
	own := func() (n int) {
		for _, r := range s.see().Bond.Routes {
			if r.Dst == v4.Masked() && r.Table == nil && r.Proto == protoKernel {
				n++
				for range 2 { // deleting missing ones succeeds
					s.apply(plan.DeleteRoute{Bond: s.bond(), Route: r})
				}
			}
		}
		return n
	}
	s.equal("the kernel's routes for the address", own(), 1)
	s.equal("the kernel's routes for the address, after they were deleted", own(), 0)
	o := s.see()
	if !hasRoute(o, r4) || !slices.ContainsFunc(o.Bond.Routes, func(r bond.Route) bool { return r.Table != nil && *r.Table == 100 }) {
		s.Errorf("another route is gone, too: %v", o.Bond.Routes)
	}
	s.must(s.w.SetDown(s.path, "bond0"), "set down by hand")
	s.apply(plan.SetUp{Link: s.bond()})
	s.equal("the kernel's routes for the address, when the bond was down and up", own(), 1)
}

func networkRestored(s *fixture) {
	s.networked()
	s.apply(plan.SetLinkSettings{MemberIndex: plan.OnBond, Link: s.bond(), Change: bond.SettingsChange{Sysctls: []bond.Sysctl{{Family: "ipv6", Name: "keep_addr_on_down", Value: 1}}}})
	s.must(s.w.SetDown(s.path, "bond0"), "set down by hand")
	s.equal("addresses of the bond set down", s.see().Bond.Addresses, []netip.Prefix{v4, v6})
	s.apply(plan.SetUp{Link: s.bond()})
	o := s.see()
	s.equal("addresses of the bond up again", o.Bond.Addresses, []netip.Prefix{v4, v6})
	if !hasRoute(o, bond.Route{Dst: v6.Masked()}) {
		s.Errorf("routes of the bond up again: %v", o.Bond.Routes)
	}
}

func addressDetected(s *fixture) {
	s.bonded(activeBackup())
	s.apply(plan.AddAddress{Bond: s.bond(), Prefix: v6, DAD: true})
	s.equal("addresses", s.see().Bond.Addresses, []netip.Prefix{v6})
	o := s.until("the detection has ended", func(o bond.Observed) bool { return len(o.Bond.Tentative) == 0 })
	s.equal("duplicates", len(o.Bond.Duplicates), 0)
}

func networkFlushed(s *fixture) {
	s.networked()
	r4, r6 := bond.Route{Dst: dst4, Gateway: gw4}, bond.Route{Dst: dst6, Gateway: gw6}
	s.apply(plan.AddRoute{Bond: s.bond(), Route: r4})
	s.apply(plan.AddRoute{Bond: s.bond(), Route: r6})
	s.must(s.w.FlushAddresses(s.path, "bond0"), "flush by hand")
	o := s.see()
	s.equal("addresses", len(o.Bond.Addresses), 0)
	if hasRoute(o, r4) || !hasRoute(o, r6) { // IPv6 routes stay when their gateway becomes unreachable
		s.Errorf("routes: %v", o.Bond.Routes)
	}
}

func announce(s *fixture) {
	s.networked()
	before := s.see()
	s.apply(plan.Announce{Bond: s.bond(), Addresses: []netip.Addr{v4.Addr(), v6.Addr()}})
	s.equal("state", still(s.see()), still(before))
}

// readAfterMembers: they are left unread once, if the bond is the one that the record knows, and up.
func readAfterMembers(s *fixture) {
	s.networked()
	s.must(s.w.Release(s.path, s.r.Members[1].Name), "release a member")
	for n, unread := range []bool{true, false, true} {
		o, err := s.w.Observe(s.Context(), s.r)
		s.must(err, "observe")
		if b := o.Bond; b.ReadLater != unread || unread == (b.Unread == "") || unread != (len(b.Addresses) == 0) {
			s.Errorf("observation %d: later %t, unread %q, addresses %v", n, b.ReadLater, b.Unread, b.Addresses)
		}
	}
	s.see()
	s.r.BondIndex = 0
	o, err := s.w.Observe(s.Context(), s.r)
	s.must(err, "observe")
	if b := o.Bond; b.ReadLater || len(b.Addresses) == 0 {
		s.Errorf("another bond than the record's: later %t, addresses %v", b.ReadLater, b.Addresses)
	}
}
