package plan

import (
	"net/netip"
	"slices"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// planNetwork restores addresses and routes that were requested and are missing, and after a loss those of other
// writers.
func (b *builder) planNetwork() {
	if b.rec.WithoutLease() {
		return
	}
	o := b.obs.Bond
	if o.Unread != "" {
		b.reportWaiting(OnBond, Unread, "%s", o.Unread)
		b.plan.AnnounceLater = b.announce
		return
	}
	b.planIPv6()
	for _, a := range b.rec.Addresses {
		if slices.Contains(o.Duplicates, a.Prefix) {
			b.report(OnBond, DuplicateAddress, "address %s is in use by another host (duplicate address detection failed), so the kernel does not use it; release it there, then recreate the pod", a.Prefix)
		}
		if slices.Contains(o.Addresses, a.Prefix) {
			continue
		}
		if have, found := otherPrefix(o, a.Prefix); found {
			b.report(OnBond, SettingsChanged, "the bond has address %s with prefix length %d, not %d", a.Prefix.Addr(), have.Bits(), a.Prefix.Bits())
			b.add(DelAddress{MemberIndex: OnBond, Bond: b.bondRef(), Prefix: have})
		} else {
			b.report(OnBond, SettingsChanged, "the bond lacks address %s", a.Prefix)
		}
		b.add(AddAddress{MemberIndex: OnBond, Bond: b.bondRef(), Prefix: a.Prefix, DAD: b.detectsDuplicates(a.Prefix)})
		b.announceLater()
	}
	for _, r := range b.rec.Routes {
		if HasRoute(o, r) {
			continue
		}
		if i := slices.IndexFunc(o.Routes, func(have bond.Route) bool { return replaces(r, have) && !(have.Shared && r.Dst.Addr().Is4()) }); i >= 0 {
			b.report(OnBond, SettingsChanged, "the bond has route %s with other attributes (MTU %d, advertised MSS %d)", r, o.Routes[i].MTU, o.Routes[i].AdvMSS)
			b.add(DeleteRoute{MemberIndex: OnBond, Bond: b.bondRef(), Route: o.Routes[i]})
		} else {
			b.report(OnBond, SettingsChanged, "the bond lacks route %s", r)
		}
		b.add(AddRoute{MemberIndex: OnBond, Bond: b.bondRef(), Route: r})
	}
	b.planNetworkExtras()
	b.planPrefixRoutes()
	switch all := b.announceable(); {
	case !b.announce || len(all) == 0:
	case o.Carrier:
		b.addBecause(b.announceCause, Announce{MemberIndex: OnBond, Bond: b.bondRef(), Addresses: all})
	default:
		b.plan.AnnounceLater = true // packets would be lost
	}
}

// DueAnnouncement returns what to announce on a bond that has got its carrier; ok is false if there is nothing, or if
// it has none yet.
func DueAnnouncement(rec *bond.Record, obs *bond.Observed) (a Announce, ok bool) {
	if !rec.AnnounceDue || rec.Deleted() || obs.Bond == nil || !obs.Bond.Carrier || obs.Bond.Unread != "" {
		return a, false
	}
	b := &builder{rec: rec, obs: obs}
	return Announce{MemberIndex: OnBond, Bond: b.bondRef(), Addresses: b.announceable()}, true
}

// otherPrefix returns the IPv6 address of p with another prefix length. A link has an IPv6 address once, and the kernel
// reports that it exists when p is added.
func otherPrefix(o *bond.ObservedBond, p netip.Prefix) (netip.Prefix, bool) {
	i := slices.IndexFunc(o.Addresses, func(have netip.Prefix) bool { return p.Addr().Is6() && have.Addr() == p.Addr() && have != p })
	if i < 0 {
		return netip.Prefix{}, false
	}
	return o.Addresses[i], true
}

// detectsDuplicates reports whether an address is added with duplicate address detection: at ADD, unless the config
// disables it. A restored address was the pod's before.
func (b *builder) detectsDuplicates(p netip.Prefix) bool {
	return p.Addr().Is6() && b.rec.Phase == bond.PhaseAdding && !b.rec.Spec.NoDAD
}

// planIPv6 makes IPv6 addresses survive when the bond is set down, as the reference plugins do at ADD. It also has the
// kernel announce each to the neighbours once its detection has ended, so that ADD need not wait.
func (b *builder) planIPv6() {
	if b.rec.Phase != bond.PhaseAdding || !slices.ContainsFunc(b.rec.Addresses, func(a bond.Address) bool { return a.Prefix.Addr().Is6() }) {
		return
	}
	var change bond.SettingsChange
	for _, name := range []string{"keep_addr_on_down", "ndisc_notify"} {
		if v, listed := b.obs.Bond.Settings.Sysctl("ipv6", name); listed && v == 0 && (name == "keep_addr_on_down" || !b.rec.Spec.NoDAD) {
			change.Sysctls = append(change.Sysctls, bond.Sysctl{Family: "ipv6", Name: name, Value: 1})
		}
	}
	if !change.Empty() {
		b.add(SetLinkSettings{MemberIndex: OnBond, Link: b.bondRef(), Change: change})
	}
}

// announceable returns the addresses that were requested and those that other writers added, without those that are
// still tentative or duplicates.
func (b *builder) announceable() []netip.Addr {
	var all []netip.Prefix
	for _, a := range b.rec.Addresses {
		all = append(all, a.Prefix)
	}
	if l := b.rec.Learned; l != nil {
		all = append(all, l.Addresses...)
	}
	o := b.obs.Bond
	var out []netip.Addr
	for _, p := range all {
		added := !slices.Contains(o.Addresses, p)
		if added && b.detectsDuplicates(p) || slices.Contains(o.Tentative, p) || slices.Contains(o.Duplicates, p) ||
			slices.Contains(out, p.Addr()) { // learned with another prefix length
			continue
		}
		out = append(out, p.Addr())
	}
	return out
}

// mainTable is RT_TABLE_MAIN (linux/rtnetlink.h).
const mainTable = 254

// satisfies reports whether a route in the kernel is the desired one. Attributes that the latter does not have (metric,
// MTU, scope) may have any value. IPv6 routes have no scope. The next hops of a shared IPv6 route have metrics of their
// own, of which the kernel reports only those of the first.
func satisfies(have, want bond.Route) bool {
	unknown := have.Shared && want.Dst.Addr().Is6()
	return have.Dst == want.Dst.Masked() &&
		have.Gateway == want.Gateway &&
		table(have) == table(want) &&
		(want.Priority == 0 || have.Priority == want.Priority) &&
		(want.MTU == 0 || have.MTU == want.MTU || unknown) &&
		(want.AdvMSS == 0 || have.AdvMSS == want.AdvMSS || unknown) &&
		(want.Scope == nil || want.Dst.Addr().Is6() || scope(have) == *want.Scope)
}

// replaces reports whether both routes have the same place: destination, table, metric and next hop, with any MTU and
// other attributes. The kernel has one IPv6 route per place, and any number of IPv4 routes, of which it uses the
// newest.
func replaces(want, have bond.Route) bool {
	return have.Dst == want.Dst.Masked() && have.Gateway == want.Gateway && table(have) == table(want) && priority(have) == priority(want)
}

// priority returns the metric of a route; IPv6 routes without one get the kernel's (IP6_RT_PRIO_USER).
func priority(r bond.Route) int {
	if r.Priority == 0 && r.Dst.Addr().Is6() {
		return 1024
	}
	return r.Priority
}

// scope returns the scope of an IPv4 route; the kernel's default is global with a gateway, link without.
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
