package plan

import (
	"net/netip"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

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
