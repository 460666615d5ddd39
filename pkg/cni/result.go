package cni

import (
	"fmt"
	"math"
	"net/netip"

	"github.com/containernetworking/cni/pkg/types"
	types020 "github.com/containernetworking/cni/pkg/types/020"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/ipam"
)

// resultOf returns the result of ADD: that of the previous plugins in the chain, the bond, and the IPAM result.
func resultOf(rec *bond.Record, obs *bond.Observed, c *Config, ipamResult *current.Result) *current.Result {
	result := &current.Result{CNIVersion: current.ImplementedSpecVersion}
	if c.Prev != nil {
		*result = *c.Prev
	}
	index := len(result.Interfaces)
	result.Interfaces = append(result.Interfaces, &current.Interface{
		Name: rec.BondName(), Mac: string(obs.Bond.MAC), Mtu: obs.Bond.MTU, Sandbox: rec.Sandbox.Path, PciID: pciID(rec),
	})
	for _, ip := range ipamResult.IPs {
		ip.Interface = current.Int(index)
		result.IPs = append(result.IPs, ip)
	}
	result.Routes = append(result.Routes, ipamResult.Routes...)
	if dns := resultDNS(c, ipamResult); !dns.IsEmpty() {
		result.DNS = dns
	}
	return result
}

// pciID returns the PCI address of the VF of a bond with a single member. A result has one per interface, so a bond of
// several members has none.
func pciID(rec *bond.Record) string {
	if len(rec.Members) != 1 {
		return ""
	}
	return string(rec.Members[0].PCI)
}

// resultDNS returns the network config's DNS or, if it has none, the IPAM result's.
func resultDNS(c *Config, ipamResult *current.Result) types.DNS {
	if !c.DNS.IsEmpty() {
		return c.DNS
	}
	return ipamResult.DNS
}

func recordDNS(d types.DNS) *bond.DNS {
	if d.IsEmpty() {
		return nil
	}
	return &bond.DNS{Nameservers: d.Nameservers, Domain: d.Domain, Search: d.Search, Options: d.Options}
}

// print writes the result in the runtime's version.
func (s *session) print(result *current.Result, c *Config) error {
	versioned, err := result.GetAsVersion(c.Version)
	if len(result.IPs) == 0 && (c.Version == "0.1.0" || c.Version == "0.2.0") {
		// The library does not support a result of these versions without addresses, which the specification allows.
		versioned, err = &types020.Result{CNIVersion: c.Version, DNS: result.DNS}, nil
	}
	if err != nil {
		return types.NewError(types.ErrIncompatibleCNIVersion, fmt.Sprintf("result: %v", err), "")
	}
	if err := versioned.PrintTo(s.stdout); err != nil {
		return types.NewError(types.ErrIOFailure, fmt.Sprintf("write the result: %v", err), "")
	}
	return nil
}

// addressesOf returns the addresses of an IPAM result.
func addressesOf(ipamResult *current.Result) ([]bond.Address, error) {
	var out []bond.Address
	for i, ip := range ipamResult.IPs {
		prefix, ok := ipam.Prefix(ip.Address)
		if !ok {
			return nil, badResult("ips[%d]: %s is not an address with a prefix length", i, ip.Address.String())
		}
		a := bond.Address{Prefix: prefix}
		if ip.Gateway != nil {
			if a.Gateway, ok = ipam.Addr(ip.Gateway); !ok {
				return nil, badResult("ips[%d]: gateway %s is not an address", i, ip.Gateway)
			}
			a.Gateway = unlessUnspecified(a.Gateway)
		}
		out = append(out, a)
	}
	return out, nil
}

// routesOf returns the routes of an IPAM result. A route without a gateway gets that of the first address of its family
// with a gateway, as with the reference plugins.
func routesOf(ipamResult *current.Result, addresses []bond.Address) ([]bond.Route, error) {
	var out []bond.Route
	for i, r := range ipamResult.Routes {
		dst, ok := ipam.Prefix(r.Dst)
		if !ok {
			return nil, badResult("routes[%d]: %s is not a prefix", i, r.Dst.String())
		}
		if err := checkRoute(i, r); err != nil {
			return nil, err
		}
		route := bond.Route{Dst: dst.Masked(), MTU: r.MTU, AdvMSS: r.AdvMSS, Priority: r.Priority, Table: r.Table, Scope: r.Scope}
		if r.GW != nil {
			if route.Gateway, ok = ipam.Addr(r.GW); !ok {
				return nil, badResult("routes[%d]: gateway %s is not an address", i, r.GW)
			}
			route.Gateway = unlessUnspecified(route.Gateway)
		} else {
			route.Gateway = gatewayFor(dst.Addr(), addresses)
		}
		out = append(out, route)
	}
	return out, nil
}

// unlessUnspecified returns a gateway; none for 0.0.0.0 and ::, which mean none for the kernel.
func unlessUnspecified(gateway netip.Addr) netip.Addr {
	if gateway.IsUnspecified() {
		return netip.Addr{}
	}
	return gateway
}

// checkRoute rejects a number that is too large for the kernel's field. The kernel would silently truncate or reduce it
// (struct rtmsg, RTA_*, ip_metrics_convert), and the requested route would never be observed.
func checkRoute(i int, r *types.Route) error {
	optional := func(n *int) int64 {
		if n == nil {
			return 0
		}
		return int64(*n)
	}
	for _, f := range []struct {
		name        string
		value, most int64
	}{
		{"scope", optional(r.Scope), math.MaxUint8}, {"table", optional(r.Table), math.MaxUint32}, {"mtu", int64(r.MTU), maxMTU - 15},
		{"advmss", int64(r.AdvMSS), maxMTU - 40}, {"priority", int64(r.Priority), math.MaxUint32},
	} {
		if f.value < 0 || f.value > f.most {
			return badResult("routes[%d]: %s: found %d, want 0 to %d", i, f.name, f.value, f.most)
		}
	}
	return nil
}

func gatewayFor(dst netip.Addr, addresses []bond.Address) netip.Addr {
	for _, a := range addresses {
		if a.Gateway.IsValid() && a.Gateway.Is4() == dst.Is4() {
			return a.Gateway
		}
	}
	return netip.Addr{}
}

func badResult(format string, args ...any) *types.Error {
	return types.NewError(types.ErrDecodingFailure, "IPAM ADD: "+fmt.Sprintf(format, args...), "")
}
