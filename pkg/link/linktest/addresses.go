package linktest

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// addAddress lists IPv4 before IPv6, as the kernel does.
func (d *netdev) addAddress(p netip.Prefix) error {
	if slices.Contains(d.addrs, p) {
		return nil
	}
	for _, have := range d.addrs {
		if p.Addr().Is6() && have.Addr() == p.Addr() {
			return fmt.Errorf("%s has the address as %s: %w", d.name, have, bond.ErrStale)
		}
	}
	d.addrs = append(d.addrs, p)
	slices.SortStableFunc(d.addrs, func(a, b netip.Prefix) int { return cmp.Compare(a.Addr().BitLen(), b.Addr().BitLen()) })
	return nil
}

// Route protocols (linux/rtnetlink.h).
const protoKernel, protoBoot = 2, 3

// delAddress removes an address. With the last IPv4 address all IPv4 routes are deleted (fib_disable_ip).
func (d *netdev) delAddress(p netip.Prefix) {
	d.addrs = slices.DeleteFunc(d.addrs, func(have netip.Prefix) bool { return have == p })
	if !slices.ContainsFunc(d.addrs, func(have netip.Prefix) bool { return have.Addr().Is4() }) {
		d.routes = slices.DeleteFunc(d.routes, func(r bond.Route) bool { return r.Dst.Addr().Is4() })
	}
}

// retainsIPv6 reports whether IPv6 addresses survive when the link goes down (addrconf_ifdown).
func (d *netdev) retainsIPv6() bool {
	v, _ := d.settings.Sysctl("ipv6", "keep_addr_on_down")
	return v > 0
}

// list fills in addresses and routes. Duplicates are addresses that were added with detection and that another host
// has.
func (d *netdev) list(r *bond.Record, o *bond.ObservedBond) {
	addresses := plan.NewAddressList(r, o)
	for _, p := range d.addrs {
		addresses.Add(plan.ObservedAddress{Prefix: p, Duplicate: d.failed[p]})
	}
	routes := plan.NewRouteList(r, o)
	for _, route := range d.allRoutes() {
		routes.Add(route)
	}
}

// addRoute needs the link up and the gateway on it, as fib_check_nh does.
func (d *netdev) addRoute(r bond.Route) error {
	r.Dst = r.Dst.Masked()
	if r.Proto == 0 {
		r.Proto = protoBoot
	}
	if r.Dst.Addr().Is6() && r.Priority == 0 {
		r.Priority = 1024 // IP6_RT_PRIO_USER
	}
	if !d.up {
		return fmt.Errorf("%s is down: %w", d.name, bond.ErrBusy)
	}
	if r.Gateway.IsValid() && !r.OnLink && !d.reaches(r) {
		return fmt.Errorf("gateway %s is not on %s: %w", r.Gateway, d.name, bond.ErrInvalid)
	}
	i := slices.IndexFunc(d.routes, func(have bond.Route) bool {
		return sameRoute(have, r) && (r.Dst.Addr().Is6() || have.MTU == r.MTU && have.AdvMSS == r.AdvMSS && have.Shared == r.Shared)
	})
	switch {
	case i < 0:
		d.routes = append(d.routes, r)
	case r.Dst.Addr().Is6() && (r.MTU != 0 && r.MTU != d.routes[i].MTU || r.AdvMSS != 0 && r.AdvMSS != d.routes[i].AdvMSS):
		return fmt.Errorf("%s has the route with another MTU or MSS: %w", d.name, bond.ErrStale)
	}
	return nil
}

// allRoutes are those that were added and, while the link is up, the kernel's own for its addresses.
func (d *netdev) allRoutes() []bond.Route {
	all := slices.Clone(d.routes)
	for _, p := range d.addrs {
		own := bond.Route{Dst: p.Masked(), Proto: protoKernel}
		if p.Addr().Is4() {
			own.Src = p.Addr()
		}
		if own.Dst.Addr().Is6() {
			own.Priority = 256 // IP6_RT_PRIO_ADDRCONF
		}
		if d.up && !p.IsSingleIP() && !slices.Contains(d.unrouted, p) && !slices.Contains(all, own) {
			all = append(all, own)
		}
	}
	return all
}

// deleteRoute deletes a route that was added, or the kernel's own for an address. Of several IPv4 routes it deletes one
// with the same MTU and MSS (fib_metrics_match); a route with further next hops is another one.
func (d *netdev) deleteRoute(r bond.Route) {
	same := func(have bond.Route) bool {
		return sameRoute(have, r) && (r.Dst.Addr().Is6() || !have.Shared && (r.MTU == 0 || have.MTU == r.MTU) && (r.AdvMSS == 0 || have.AdvMSS == r.AdvMSS))
	}
	if i := slices.IndexFunc(d.routes, same); i >= 0 {
		d.routes = slices.Delete(d.routes, i, i+1)
	}
	for _, p := range d.addrs {
		if r.Proto == protoKernel && p.Masked() == r.Dst && orMain(r.Table) == 254 {
			d.unrouted = append(d.unrouted, p)
		}
	}
}

// flush removes all addresses. With the last IPv4 address all IPv4 routes are deleted (fib_disable_ip); IPv6 routes
// with a gateway stay.
func (d *netdev) flush() {
	d.addrs, d.unrouted = nil, nil
	d.routes = slices.DeleteFunc(d.routes, func(r bond.Route) bool { return r.Dst.Addr().Is4() })
}

// reaches reports whether the route's gateway is a neighbour: in a subnet of the link, or behind a route without
// gateway in the main table or in the route's.
func (d *netdev) reaches(route bond.Route) bool {
	gateway := route.Gateway
	if gateway.Is6() {
		if gateway.IsLinkLocalUnicast() {
			return true
		}
		if slices.ContainsFunc(d.addrs, func(p netip.Prefix) bool { return p.Addr() == gateway }) {
			return false
		}
	}
	onLink := func(r bond.Route) bool {
		table := orMain(r.Table)
		return !r.Gateway.IsValid() && r.Dst.Contains(gateway) && (table == orMain(nil) || table == orMain(route.Table))
	}
	return slices.ContainsFunc(d.addrs, func(p netip.Prefix) bool { return p.Contains(gateway) }) ||
		slices.ContainsFunc(d.routes, onLink)
}

// sameRoute compares routes as the kernel's tables do: destination, table, metric and next hop.
func sameRoute(a, b bond.Route) bool {
	return a.Dst == b.Dst && a.Gateway == b.Gateway && a.Priority == b.Priority && a.Special == b.Special && orMain(a.Table) == orMain(b.Table)
}

func orMain(table *int) int {
	if table == nil {
		return 254 // RT_TABLE_MAIN
	}
	return *table
}
