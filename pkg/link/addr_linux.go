package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

func recorded(r *bond.Record, p netip.Prefix) bool {
	return slices.ContainsFunc(r.Addresses, func(a bond.Address) bool { return a.Prefix == p })
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// addAddress adds p to a link. Without dad an IPv6 address skips duplicate address detection: where it is restored, the
// pod had it before and must not wait a second for it.
func (c *conn) addAddress(d *device, p netip.Prefix, dad bool) error {
	a := &netlink.Addr{IPNet: ipNet(p)}
	if p.Addr().Is6() && !dad {
		a.Flags = unix.IFA_F_NODAD
	}
	add := func() error {
		h, err := c.changes()
		if err != nil {
			return err
		}
		return h.AddrAdd(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: d.Index}}, a)
	}
	err := add()
	// Runtimes disable IPv6 in the netns of a cluster without IPv6; an address was requested, so it is needed.
	if p.Addr().Is6() && (errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)) {
		if err = c.enableIPv6(d.Name); err == nil {
			err = add()
		}
	}
	if errors.Is(err, unix.EEXIST) {
		return c.hasAddress(d, p)
	}
	return err
}

// hasAddress returns an error if a link has p's address with another prefix length: an IPv6 address exists once per
// link.
func (c *conn) hasAddress(d *device, p netip.Prefix) error {
	var other netip.Prefix
	err := c.retryInterruptedDump(func() error {
		return c.addresses(d.Index, func(a linkAddress) {
			if a.Prefix.Addr() == p.Addr() && a.Prefix != p {
				other = a.Prefix
			}
		})
	})
	if err == nil && other.IsValid() {
		err = fmt.Errorf("%w: %s has the address as %s", bond.ErrStale, d.Name, other)
	}
	return err
}

// delAddress removes p from a link.
func (c *conn) delAddress(d *device, p netip.Prefix) error {
	h, err := c.changes()
	if err != nil {
		return err
	}
	err = h.AddrDel(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: d.Index}}, &netlink.Addr{IPNet: ipNet(p)})
	if errors.Is(err, unix.EADDRNOTAVAIL) {
		return nil
	}
	return err
}

// enableIPv6 enables IPv6 on a link, and if possible on the loopback, as the reference plugins do.
func (c *conn) enableIPv6(name string) error {
	return c.ns.Do(func() error {
		_ = os.WriteFile(filepath.Join(c.sysctl, "ipv6/conf/lo/disable_ipv6"), []byte("0"), 0)
		return os.WriteFile(filepath.Join(c.sysctl, "ipv6/conf", name, "disable_ipv6"), []byte("0"), 0)
	})
}

// ownScope is the kernel's default for an IPv4 route (fib_create_info); IPv6 has no scopes.
func ownScope(r bond.Route) netlink.Scope {
	if r.Dst.Addr().Is4() && !r.Gateway.IsValid() {
		return unix.RT_SCOPE_LINK
	}
	return unix.RT_SCOPE_UNIVERSE
}

// addRoute adds a route through a link in addition to others to the same destination, as CNI plugins do: the existing
// one may be the cluster network's. The kernel returns EEXIST only for an identical route.
func (c *conn) addRoute(d *device, r bond.Route) error {
	h, err := c.changes()
	if err != nil {
		return err
	}
	switch err := h.RouteAddEcmp(routeOf(d, r)); {
	case errors.Is(err, unix.EEXIST):
		return c.hasRoute(d, r)
	case errors.Is(err, unix.EINVAL), d.Up && (errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH)):
		// On a link that is up these errors are about the route itself: the gateway is not reachable through the link,
		// is an address of the link, or the scope is wrong (fib_check_nh, ip6_route_check_nh).
		return fmt.Errorf("%w: the kernel rejects it on a link that is up; its gateway must be in the subnet of one of the link's addresses: %w", bond.ErrInvalid, err)
	default:
		return err
	}
}

// hasRoute returns an error if an existing route has another MTU or MSS, by which the kernel does not distinguish IPv6
// routes.
func (c *conn) hasRoute(d *device, r bond.Route) error {
	if r.MTU == 0 && r.AdvMSS == 0 {
		return nil
	}
	found := false
	err := c.retryInterruptedDump(func() error {
		return c.routes(d.Index, func(have bond.Route) {
			found = found || !have.Special && have.Dst == r.Dst.Masked() && have.Gateway == r.Gateway && have.String() == r.String() &&
				(r.MTU == 0 || have.MTU == r.MTU) && (r.AdvMSS == 0 || have.AdvMSS == r.AdvMSS)
		})
	})
	if err == nil && !found {
		err = fmt.Errorf("%w: %s has the route with another MTU or MSS", bond.ErrStale, d.Name)
	}
	return err
}

// deleteRoute deletes exactly the route r; it succeeds if there is none.
func (c *conn) deleteRoute(d *device, r bond.Route) error {
	h, err := c.changes()
	if err != nil {
		return err
	}
	if err := h.RouteDel(routeOf(d, r)); !errors.Is(err, unix.ESRCH) {
		return err
	}
	return nil
}

// routeOf returns r through d in the kernel's form.
func routeOf(d *device, r bond.Route) *netlink.Route {
	nr := &netlink.Route{
		LinkIndex: d.Index, Dst: ipNet(r.Dst.Masked()), MTU: r.MTU, AdvMSS: r.AdvMSS,
		Priority: r.Priority, Scope: ownScope(r),
	}
	if r.Gateway.IsValid() {
		nr.Gw = r.Gateway.AsSlice()
	}
	if r.Table != nil {
		nr.Table = *r.Table
	}
	if r.Src.IsValid() {
		nr.Src = r.Src.AsSlice()
	}
	if r.OnLink {
		nr.Flags = unix.RTNH_F_ONLINK
	}
	nr.Protocol = netlink.RouteProtocol(r.Proto)
	if r.Scope != nil {
		nr.Scope = netlink.Scope(*r.Scope)
	}
	return nr
}
