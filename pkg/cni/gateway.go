package cni

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// checkGateways returns an error for a route whose gateway the kernel would reject permanently. It sorts the routes so
// that the kernel accepts them: those that make gateways reachable come first.
func checkGateways(routes []bond.Route, addresses []bond.Address) error {
	slices.SortStableFunc(routes, func(a, b bond.Route) int { return cmp.Compare(hasGateway(a), hasGateway(b)) })
	for i := range routes {
		r := &routes[i]
		if !r.Gateway.IsValid() {
			continue
		}
		if reason := unreachable(r, routes, addresses); reason != "" {
			return types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf("IPAM ADD: route %s: gateway %s %s", r, r.Gateway, reason), "")
		}
	}
	return nil
}

func hasGateway(r bond.Route) int {
	if r.Gateway.IsValid() {
		return 1
	}
	return 0
}

// unreachable returns why a route's gateway cannot be used, or "". The kernel requires a neighbour: an address in the
// subnet of one of the link's addresses or behind a route without a gateway. It searches for that route in the main
// table and in the route's own (fib_check_nh, ip6_route_check_nh). Any IPv6 link-local address is a neighbour.
func unreachable(r *bond.Route, routes []bond.Route, addresses []bond.Address) string {
	if r.Dst.Addr().Is4() && !r.Gateway.Is4() {
		return "is not an IPv4 address"
	}
	if r.Dst.Addr().Is6() && !r.Gateway.Is6() {
		return "is not an IPv6 address"
	}
	own := func(a bond.Address) bool { return a.Prefix.Addr() == r.Gateway }
	if r.Gateway.Is6() && slices.ContainsFunc(addresses, own) { // with IPv4 the kernel accepts it
		return "is an address of the bond itself"
	}
	reaches := func(p netip.Prefix) bool { return p.Masked().Contains(r.Gateway) }
	ok := r.Gateway.Is6() && r.Gateway.IsLinkLocalUnicast() ||
		slices.ContainsFunc(addresses, func(a bond.Address) bool { return reaches(a.Prefix) }) ||
		slices.ContainsFunc(routes, func(via bond.Route) bool {
			return !via.Gateway.IsValid() && reaches(via.Dst) && (tableOf(via) == mainTable || tableOf(via) == tableOf(*r))
		})
	if ok {
		return ""
	}
	prefixes := make([]netip.Prefix, len(addresses))
	for i, a := range addresses {
		prefixes[i] = a.Prefix
	}
	return fmt.Sprintf("is not in the subnet of one of the bond's addresses (%s); change the subnet, the gateway or the route", joinPrefixes(prefixes))
}

// mainTable is RT_TABLE_MAIN (linux/rtnetlink.h).
const mainTable = 254

func tableOf(r bond.Route) int {
	if r.Table == nil || *r.Table == 0 {
		return mainTable
	}
	return *r.Table
}
