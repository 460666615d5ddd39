package plan

import (
	"net/netip"
	"slices"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// A pod may add any number of addresses and routes to its bond. An observation lists those in the record and those that
// the kernel added for listed addresses. Of the others it lists as many as can be recorded, and counts the rest.

// AddressList collects the addresses of an observed bond.
type AddressList struct {
	o                  *bond.ObservedBond
	named              map[netip.Prefix]bool
	namedIPv6          map[netip.Addr]bool // with any prefix length: a link has an IPv6 address once
	further, transient int
}

// NewAddressList begins a list and discards an earlier one in o.
func NewAddressList(rec *bond.Record, o *bond.ObservedBond) *AddressList {
	o.Addresses, o.Transient, o.Tentative, o.Duplicates, o.AddressesLeft = nil, nil, nil, nil, 0
	l := &AddressList{o: o, named: map[netip.Prefix]bool{}, namedIPv6: map[netip.Addr]bool{}}
	for _, a := range rec.Addresses {
		l.name(a.Prefix)
	}
	if rec.Learned != nil {
		for _, p := range rec.Learned.Addresses {
			l.name(p)
		}
	}
	return l
}

func (l *AddressList) name(p netip.Prefix) {
	l.named[p] = true
	if p.Addr().Is6() {
		l.namedIPv6[p.Addr()] = true
	}
}

// ObservedAddress is one address of the bond, with the flags that decide to which lists of ObservedBond it belongs.
type ObservedAddress struct {
	Prefix                          netip.Prefix
	Transient, Tentative, Duplicate bool
}

// Add adds an address.
func (l *AddressList) Add(a ObservedAddress) {
	o := l.o
	if !l.named[a.Prefix] && !l.namedIPv6[a.Prefix.Addr()] && l.full(a) {
		return
	}
	o.Addresses = append(o.Addresses, a.Prefix)
	if a.Transient {
		o.Transient = append(o.Transient, a.Prefix)
	}
	switch {
	case a.Duplicate:
		o.Duplicates = append(o.Duplicates, a.Prefix)
	case a.Tentative:
		o.Tentative = append(o.Tentative, a.Prefix)
	}
}

// full counts an address that is not in the record. Transient ones are never recorded, so their number does not matter.
func (l *AddressList) full(a ObservedAddress) bool {
	if a.Transient {
		l.transient++
		return l.transient > bond.MaxLearnedAddresses
	}
	if l.further++; l.further <= bond.MaxLearnedAddresses {
		return false
	}
	l.o.AddressesLeft++
	return true
}

// RouteList collects the routes of an observed bond, after its addresses.
type RouteList struct {
	o         *bond.ObservedBond
	requested map[routeKey][]*requestedRoute
	// prefixes and named are the numbers of routes still to list: those that the kernel added for an address, and those
	// that have the place of a route of the record, with any attributes.
	prefixes, named map[routeKey]int
	// dsts are the destinations in these three. Most routes have another one, which is checked first.
	dsts                 map[netip.Prefix]bool
	learnable, unlearned int
}

type routeKey struct {
	dst      netip.Prefix
	gateway  netip.Addr
	table    int
	priority int
}

type requestedRoute struct {
	bond.Route
	found bool
}

// sameKey is the number of listed routes that differ only in what the key leaves out.
const sameKey = 4

// NewRouteList begins a list and discards an earlier one in o.
func NewRouteList(rec *bond.Record, o *bond.ObservedBond) *RouteList {
	o.Routes, o.RoutesLeft, o.SpecialRoutes = nil, 0, 0
	l := &RouteList{o: o, requested: map[routeKey][]*requestedRoute{}, prefixes: map[routeKey]int{}, named: map[routeKey]int{}, dsts: map[netip.Prefix]bool{}}
	for _, r := range rec.Routes {
		k := routeKey{dst: r.Dst.Masked(), gateway: r.Gateway, table: table(r)}
		l.requested[k] = append(l.requested[k], &requestedRoute{Route: r})
		l.name(r)
	}
	for _, p := range o.Addresses {
		l.prefixes[routeKey{dst: p.Masked()}] = sameKey
		l.dsts[p.Masked()] = true
	}
	if rec.Learned != nil {
		for _, r := range rec.Learned.Routes {
			l.name(r)
		}
	}
	return l
}

func (l *RouteList) name(r bond.Route) {
	l.named[keyOfRoute(r)] = sameKey
	l.dsts[r.Dst.Masked()] = true
}

// keyOfRoute returns the same key for routes of which one replaces the other.
func keyOfRoute(r bond.Route) routeKey {
	return routeKey{dst: r.Dst.Masked(), gateway: r.Gateway, table: table(r), priority: priority(r)}
}

// Add adds a route.
func (l *RouteList) Add(r bond.Route) {
	if l.isListed(r) {
		l.o.Routes = append(l.o.Routes, r)
	}
}

func (l *RouteList) isListed(r bond.Route) bool {
	if r.Special {
		if learnable(r) {
			l.o.SpecialRoutes++
		}
		return false
	}
	if l.dsts[r.Dst] {
		requested, first := l.request(r)
		switch {
		case first, madeByKernel(r) && takeSlot(l.prefixes, routeKey{dst: r.Dst}), takeSlot(l.named, keyOfRoute(r)):
			return true
		case requested: // one is enough
			return false
		}
	}
	if !learnable(r) {
		l.unlearned++
		return l.unlearned <= bond.MaxLearnedRoutes
	}
	if l.learnable++; l.learnable <= bond.MaxLearnedRoutes {
		return true
	}
	l.o.RoutesLeft++
	return false
}

// request reports whether a route was requested, and whether it is the first that satisfies a request.
func (l *RouteList) request(r bond.Route) (requested, first bool) {
	for _, want := range l.requested[routeKey{dst: r.Dst, gateway: r.Gateway, table: table(r)}] {
		if satisfies(r, want.Route) {
			requested, first = true, first || !want.found
			want.found = true
		}
	}
	return requested, first
}

func takeSlot(slots map[routeKey]int, k routeKey) bool {
	if slots[k] == 0 {
		return false
	}
	slots[k]--
	return true
}

func madeByKernel(r bond.Route) bool { return r.Proto == protoKernel && table(r) == mainTable }

// learnable reports whether a route that was not requested is recorded. The kernel and routing daemons restore theirs
// themselves.
func learnable(r bond.Route) bool {
	return !madeByKernel(r) && r.Proto != protoRedirect && r.Proto <= protoStatic
}

// extraAddresses returns the addresses to record that were not requested, those recorded before first, and the number
// of the others.
func (l *learner) extraAddresses() (extra []netip.Prefix, left int) {
	b := l.obs.Bond
	var before []netip.Prefix
	if l.rec.Learned != nil {
		before = l.rec.Learned.Addresses
	}
	for _, known := range []bool{true, false} {
		for _, p := range b.Addresses {
			requested := slices.ContainsFunc(l.rec.Addresses, func(a bond.Address) bool { return a.Prefix == p })
			if requested || slices.Contains(b.Transient, p) || slices.Contains(before, p) != known {
				continue
			}
			if len(extra) < bond.MaxLearnedAddresses {
				extra = append(extra, p)
			} else {
				left++
			}
		}
	}
	slices.SortFunc(extra, netip.Prefix.Compare)
	return extra, left + b.AddressesLeft
}
