package ipam

import (
	"net"
	"net/netip"
)

// Addr converts an address of an IPAM result; ok is false if it is invalid.
func Addr(ip net.IP) (a netip.Addr, ok bool) {
	a, ok = netip.AddrFromSlice(ip)
	return a.Unmap(), ok
}

// Prefix converts an address with a prefix length, including the host bits; ok is false if it is invalid.
func Prefix(n net.IPNet) (p netip.Prefix, ok bool) {
	a, ok := Addr(n.IP)
	ones, bits := n.Mask.Size()
	if !ok || bits == 0 {
		return netip.Prefix{}, false
	}
	if a.Is4() && bits == 128 {
		ones -= 96
	}
	p = netip.PrefixFrom(a, ones)
	return p, p.IsValid()
}
