package linktest

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

var crowdCases = []contractCase{
	{"addresses and routes of other links are not the bond's", bonding_, otherNetwork},
	{"of too many addresses those of the record are listed", bonding_, manyAddresses},
	{"of too many routes those of the record are listed", bonding_, manyRoutes},
	{"routes that a record cannot describe are counted", bonding_, specialRoutes},
	{"of a bond that is to be deleted no addresses and routes are read", bonding_, deletedNetwork},
}

// nthPrefix is the host prefix n after base.
func nthPrefix(base string, n int) netip.Prefix {
	b := netip.MustParseAddr(base).AsSlice()
	last := b[len(b)-4:]
	binary.BigEndian.PutUint32(last, binary.BigEndian.Uint32(last)+uint32(n)) //nolint:gosec // small
	a, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(a, a.BitLen())
}

func nthPrefixes(base string, n int) (all []netip.Prefix) {
	for i := range n {
		all = append(all, nthPrefix(base, i))
	}
	return all
}

func routesTo(all []netip.Prefix, proto int) (routes []bond.Route) {
	for _, p := range all {
		routes = append(routes, bond.Route{Dst: p, Proto: proto})
	}
	return routes
}

func otherNetwork(s *fixture) {
	s.networked()
	_, err := s.w.AddImpostor(s.path, "crowd0")
	s.must(err, "make another link")
	s.must(s.w.SetUp(s.path, "crowd0"), "set it up")
	before := s.see().Bond
	s.must(s.w.AddAddresses(s.path, "crowd0", append(nthPrefixes("10.1.0.1", 5), nthPrefixes("2001:db8:9::1", 5)...)), "addresses of the other link")
	others := append(routesTo(nthPrefixes("10.2.0.1", 5), protoBoot), routesTo(nthPrefixes("2001:db8:a::1", 5), protoBoot)...)
	others = append(others, bond.Route{Dst: dst4, Table: new(100), Proto: protoBoot}, bond.Route{Dst: dst6, Table: new(100), Proto: protoBoot})
	s.must(s.w.AddRoutes(s.path, "crowd0", others), "routes through the other link")
	s.apply(plan.AddRoute{Bond: s.bond(), Route: bond.Route{Dst: dst4, Gateway: gw4, Table: new(101)}})
	after := s.see().Bond
	s.equal("addresses", after.Addresses, before.Addresses)
	for _, r := range after.Routes {
		if slices.ContainsFunc(others, func(other bond.Route) bool { return other.Dst == r.Dst && !r.Gateway.IsValid() }) {
			s.Errorf("the other link's route %s is taken for the bond's", r)
		}
	}
	if !hasRoute(s.see(), bond.Route{Dst: dst4, Gateway: gw4}) {
		s.Errorf("the bond's route in a table of its own is not reported: %v", after.Routes)
	}
}

func manyAddresses(s *fixture) {
	s.networked()
	const many = bond.MaxLearnedAddresses + 10
	all := nthPrefixes("10.1.0.1", many)
	s.must(s.w.AddAddresses(s.path, "bond0", all), "add addresses")
	b := s.see().Bond
	s.equal("addresses that are listed", len(b.Addresses), bond.MaxLearnedAddresses)
	s.equal("addresses that are not", b.AddressesLeft, many+2-bond.MaxLearnedAddresses) // v4 and v6 are there, too
	s.r.Addresses = []bond.Address{{Prefix: all[many-1]}}
	s.r.Learned = &bond.Learned{Addresses: []netip.Prefix{v6, all[many-2]}}
	b = s.see().Bond
	for _, p := range []netip.Prefix{all[many-1], all[many-2], v6} {
		if !slices.Contains(b.Addresses, p) {
			s.Errorf("%s is in the record and not listed: %v", p, b.Addresses)
		}
	}
}

func manyRoutes(s *fixture) {
	s.networked()
	const many = bond.MaxLearnedRoutes/2 + 10 // of each family
	four, six := nthPrefixes("10.1.0.1", many), nthPrefixes("2001:db8:9::1", many)
	s.must(s.w.AddRoutes(s.path, "bond0", routesTo(append(four, six...), protoBoot)), "add routes")
	s.must(s.w.AddRoutes(s.path, "bond0", routesTo(nthPrefixes("10.2.0.1", 5), 12)), "add a daemon's routes") // RTPROT_BIRD
	b := s.see().Bond
	s.equal("routes that are not listed", b.RoutesLeft, 2*many-bond.MaxLearnedRoutes)
	for _, p := range []netip.Prefix{v4.Masked(), v6.Masked(), addr("10.2.0.1/32")} {
		if !slices.ContainsFunc(b.Routes, func(r bond.Route) bool { return r.Dst == p }) {
			s.Errorf("no route to %s is listed", p)
		}
	}
	s.r.Routes = []bond.Route{{Dst: four[many-1]}, {Dst: six[many-1]}}
	s.r.Learned = &bond.Learned{Routes: []bond.Route{{Dst: six[many-2], Priority: 1024, Proto: protoBoot}}}
	o := s.see()
	for _, p := range []netip.Prefix{four[many-1], six[many-1], six[many-2]} {
		if !hasRoute(o, bond.Route{Dst: p}) {
			s.Errorf("the route to %s is in the record and not listed", p)
		}
	}
	s.equal("routes that are not listed, without those of the record", o.Bond.RoutesLeft, 2*many-3-bond.MaxLearnedRoutes)
}

func specialRoutes(s *fixture) {
	s.networked()
	before := s.see().Bond
	static, daemons := routesTo(nthPrefixes("10.1.0.1", 2), protoBoot), routesTo(nthPrefixes("10.2.0.1", 1), 12) // RTPROT_BIRD
	for _, r := range append(static, daemons...) {
		r.Special = true
		s.must(s.w.AddRoutes(s.path, "bond0", []bond.Route{r}), "add a route with a TOS")
	}
	b := s.see().Bond
	s.equal("routes", b.Routes, before.Routes)
	s.equal("special routes, without a daemon's", b.SpecialRoutes, len(static))
	s.must(s.w.SetDown(s.path, "bond0"), "set the bond down")
	s.equal("special routes of a bond that is down", s.see().Bond.SpecialRoutes, 0)
}

func deletedNetwork(s *fixture) {
	s.networked()
	s.r.Phase = bond.PhaseDeleting
	o := s.see()
	if b := o.Bond; b == nil || !b.HasMembers || len(b.Addresses) > 0 || len(b.Routes) > 0 {
		s.Errorf("bond %s", oneLine(b))
	}
	for i, m := range o.Members {
		s.equal("place of "+s.r.Members[i].Name, m.Location, bond.InPod)
	}
}
