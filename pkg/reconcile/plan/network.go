package plan

import (
	"net/netip"
	"slices"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// network puts back addresses and routes that IPAM gave and the bond has lost. What
// the pod added itself is left alone.
func (b *builder) network() {
	o := b.obs.Bond
	for _, a := range b.rec.Addresses {
		if slices.Contains(o.Addresses, a.Prefix) {
			continue
		}
		b.find(OnBond, SettingsChanged, "the bond lacks address %s", a.Prefix)
		b.do(AddAddress{Member: OnBond, Bond: b.bondRef(), Prefix: a.Prefix})
		b.announce = true
	}
	for _, r := range b.rec.Routes {
		if slices.ContainsFunc(o.Routes, func(have bond.Route) bool { return satisfies(have, r) }) {
			continue
		}
		b.find(OnBond, SettingsChanged, "the bond lacks route %s", r)
		b.do(AddRoute{Member: OnBond, Bond: b.bondRef(), Route: r})
	}
	if b.announce && len(b.rec.Addresses) > 0 {
		b.do(Announce{Member: OnBond, Bond: b.bondRef(), Addresses: addresses(b.rec.Addresses)})
	}
}

func addresses(as []bond.Address) []netip.Addr {
	out := make([]netip.Addr, len(as))
	for i, a := range as {
		out[i] = a.Prefix.Addr()
	}
	return out
}

// mainTable is RT_TABLE_MAIN (linux/rtnetlink.h).
const mainTable = 254

// satisfies says that a route in the kernel is the wanted one. What the wish leaves
// open (metric, MTU, scope) may be anything. IPv6 routes have no scope.
func satisfies(have, want bond.Route) bool {
	return have.Dst == want.Dst.Masked() &&
		have.Gateway == want.Gateway &&
		table(have) == table(want) &&
		(want.Priority == 0 || have.Priority == want.Priority) &&
		(want.MTU == 0 || have.MTU == want.MTU) &&
		(want.AdvMSS == 0 || have.AdvMSS == want.AdvMSS) &&
		(want.Scope == nil || want.Dst.Addr().Is6() || scope(have) == *want.Scope)
}

// scope is that of an IPv4 route; the kernel's choice is global with a gateway, link without.
func scope(r bond.Route) int {
	const global, link = 0, 253 // RT_SCOPE_UNIVERSE, RT_SCOPE_LINK
	switch {
	case r.Scope != nil:
		return *r.Scope
	case r.Gateway.IsValid():
		return global
	default:
		return link
	}
}

func table(r bond.Route) int {
	if r.Table == nil || *r.Table == 0 {
		return mainTable
	}
	return *r.Table
}
