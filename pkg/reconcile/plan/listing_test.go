package plan

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// TestUnreadNetwork: addresses and routes that could not be read are neither restored nor learned, and the rest is
// repaired.
func TestUnreadNetwork(t *testing.T) {
	rec := &bond.Record{
		Key: bond.Key{ContainerID: "c", IfName: "bond0"}, Phase: bond.PhaseReady, Restoring: true,
		Addresses: []bond.Address{{Prefix: netip.MustParsePrefix("192.0.2.1/24")}},
		Routes:    []bond.Route{{Dst: netip.MustParsePrefix("198.51.100.0/24")}},
		Learned:   &bond.Learned{RoutesLeft: 300, AddressesLeft: 3},
	}
	o := bond.Observed{SandboxAlive: true, Bond: &bond.ObservedBond{Link: bond.Link{Index: 7, Name: "bond0", Kind: "bond"}, Unread: "why"}}
	p := Diff(Input{Record: rec, Observed: o})
	if len(p.Actions) != 1 || p.Actions[0].On() != OnBond || !slices.ContainsFunc(p.Findings, func(f Finding) bool { return f.Code == Unread }) {
		t.Errorf("actions %v, want the bond set up and nothing else; findings %v", p.Actions, p.Findings)
	}
	o.Bond.Up = true
	if p = Diff(Input{Record: rec, Observed: o}); p.Verdict != Wait || Restored(rec, &o, p) {
		t.Errorf("verdict %s, findings %v; it counts as restored: %t", p.Verdict, p.Findings, !rec.Restoring)
	}
	rec.Restoring, rec.Spec.Enforce = false, bond.EnforceLinks
	if notes := Learn(rec, &o); len(notes) > 0 || len(rec.Addresses) != 1 {
		t.Errorf("learned %v; addresses %v", notes, rec.Addresses)
	}
}

// TestRouteListIsBounded, whatever the pod adds.
func TestRouteListIsBounded(t *testing.T) {
	subnet := netip.MustParsePrefix("192.0.2.0/24")
	rec := &bond.Record{
		Routes:  []bond.Route{{Dst: netip.MustParsePrefix("198.51.100.0/24")}},
		Learned: &bond.Learned{Routes: []bond.Route{{Dst: netip.MustParsePrefix("203.0.113.0/24"), Priority: 9}}},
	}
	o := &bond.ObservedBond{Addresses: []netip.Prefix{subnet}}
	l := NewRouteList(rec, o)
	const many = 2000
	for i := range many {
		l.Add(bond.Route{Dst: subnet, Proto: protoKernel, Priority: i})
		l.Add(bond.Route{Dst: rec.Routes[0].Dst, Proto: protoStatic, Priority: i})
		l.Add(bond.Route{Dst: rec.Learned.Routes[0].Dst, Priority: 9, MTU: i})
		l.Add(bond.Route{Dst: subnet, Proto: 12, Priority: i})
		l.Add(bond.Route{Dst: subnet, Table: new(i + 1), Proto: protoStatic})
	}
	if most := 1 + 3*sameKey + 2*bond.MaxLearnedRoutes; len(o.Routes) > most {
		t.Errorf("%d routes are listed, want %d at most", len(o.Routes), most)
	}
	if want := 2*many - sameKey - bond.MaxLearnedRoutes; o.RoutesLeft < want-1 || o.RoutesLeft > want {
		t.Errorf("%d routes are counted, want %d", o.RoutesLeft, want)
	}
}

// TestListsWhatIsInTheWay: an address with another prefix length and a route with other attributes are listed, so that
// they are replaced.
func TestListsWhatIsInTheWay(t *testing.T) {
	at := netip.MustParsePrefix
	rec := &bond.Record{
		Addresses: []bond.Address{{Prefix: at("2001:db8::1/64")}},
		Routes:    []bond.Route{{Dst: at("2001:db8:1::/48"), MTU: 1400}},
	}
	o := &bond.ObservedBond{}
	addresses := NewAddressList(rec, o)
	for i := range 2 * bond.MaxLearnedAddresses {
		addresses.Add(ObservedAddress{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 32)})
	}
	addresses.Add(ObservedAddress{Prefix: at("2001:db8::1/48")})
	if !slices.Contains(o.Addresses, at("2001:db8::1/48")) {
		t.Errorf("addresses %v", o.Addresses)
	}
	routes := NewRouteList(rec, o)
	for i := range 2 * bond.MaxLearnedRoutes {
		routes.Add(bond.Route{Dst: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 32)})
	}
	routes.Add(bond.Route{Dst: at("2001:db8:1::/48"), MTU: 1300, Priority: 1024})
	if n := len(o.Routes); o.Routes[n-1].MTU != 1300 {
		t.Errorf("%d routes are listed, and not the one with another MTU", n)
	}
}
