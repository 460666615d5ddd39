package plan

import (
	"net/netip"
	"slices"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// network restores addresses and routes that were requested and are missing, and after a loss those of other writers.
func (b *builder) network() {
	if b.rec.WithoutLease() {
		return
	}
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
		if hasRoute(o, r) {
			continue
		}
		b.find(OnBond, SettingsChanged, "the bond lacks route %s", r)
		b.do(AddRoute{Member: OnBond, Bond: b.bondRef(), Route: r})
	}
	b.restoreNetwork()
	b.dropPrefixRoutes()
	if all := b.allAddresses(); b.announce && len(all) > 0 {
		b.do(Announce{Member: OnBond, Bond: b.bondRef(), Addresses: all})
	}
}

// allAddresses are those that were requested and those that other writers added.
func (b *builder) allAddresses() []netip.Addr {
	var out []netip.Addr
	for _, a := range b.rec.Addresses {
		out = append(out, a.Prefix.Addr())
	}
	if l := b.rec.Learned; l != nil {
		for _, p := range l.Addresses {
			out = append(out, p.Addr())
		}
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
