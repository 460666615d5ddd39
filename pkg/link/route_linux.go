package link

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// routeRequest requests the unicast routes with a next hop through a link. Without RTM_F_CLONED the kernel
// leaves its cache out.
func routeRequest(family uint8, index int) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.RTM_GETROUTE, unix.NLM_F_DUMP)
	req.AddData(&nl.RtMsg{RtMsg: unix.RtMsg{Family: family, Type: unix.RTN_UNICAST}})
	req.AddData(nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(index)))) //nolint:gosec // an ifindex is positive
	return req
}

// routes calls each with the unicast routes through a link, of all tables but the local one. The kernel selects them,
// so that the routes through other links are never sent.
func (c *conn) routes(index int, each func(bond.Route)) error {
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		err := c.stream(routeRequest(family, index), unix.RTM_NEWROUTE, func(m []byte) error {
			r, err := parseRoute(m)
			if err == nil && r.family == family { // a kernel without IPv6 may dump IPv4 instead
				r.via(index, each)
			}
			return err
		})
		switch {
		case errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EOPNOTSUPP): // a kernel without IPv6
		case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENOENT): // the link was deleted, or there is no table of the family yet
		case err != nil:
			return err
		}
	}
	return nil
}

// linkRoute is one RTM_NEWROUTE message.
type linkRoute struct {
	bond.Route
	family, kind, scope uint8
	flags               uint32
	table               int
	only                hop
	several             []hop // instead of only
}

// hop is a next hop.
type hop struct {
	index   int
	gateway netip.Addr
	flags   uint32
}

// Attributes of one next hop of several (struct rtnexthop of linux/rtnetlink.h).
const sizeofRtNexthop = 8

// parseRoute allocates nothing for a route with one next hop: a bond may have any number of routes.
func parseRoute(m []byte) (r linkRoute, err error) {
	if len(m) < unix.SizeofRtMsg {
		return linkRoute{}, errors.New("route message is too short")
	}
	msg := nl.DeserializeRtMsg(m)
	r = linkRoute{family: msg.Family, kind: msg.Type, scope: msg.Scope, flags: msg.Flags, table: int(msg.Table), only: hop{flags: msg.Flags}}
	r.Special = msg.Src_len != 0 || msg.Tos != 0
	r.Proto = int(msg.Protocol)
	dst := netip.IPv4Unspecified()
	if msg.Family == unix.AF_INET6 {
		dst = netip.IPv6Unspecified()
	}
	err = eachAttr(m[unix.SizeofRtMsg:], func(typ uint16, v []byte) (err error) {
		switch typ {
		case unix.RTA_DST:
			dst, err = addressOf(msg.Family, v)
		case unix.RTA_PREFSRC:
			r.Src, err = addressOf(msg.Family, v)
		case unix.RTA_GATEWAY:
			r.only.gateway, err = addressOf(msg.Family, v)
		case unix.RTA_VIA, unix.RTA_ENCAP: // a gateway of the other family; a tunnel
			r.Special = true
		case unix.RTA_OIF:
			r.only.index = int(number(v))
		case unix.RTA_PRIORITY:
			r.Priority = int(number(v))
		case unix.RTA_TABLE:
			r.table = int(number(v))
		case unix.RTA_METRICS:
			return r.parseMetrics(v)
		case unix.RTA_MULTIPATH:
			return r.parseHops(v)
		}
		return err
	})
	r.Dst = netip.PrefixFrom(dst, int(msg.Dst_len))
	return r, err
}

// addressOf decodes the address in an attribute of a route of that family.
func addressOf(family uint8, v []byte) (netip.Addr, error) {
	a, ok := netip.AddrFromSlice(v)
	if !ok || family == unix.AF_INET && !a.Is4() || family == unix.AF_INET6 && !a.Is6() {
		return netip.Addr{}, fmt.Errorf("address of %d bytes in a route of family %d", len(v), family)
	}
	return a, nil
}

func (r *linkRoute) parseMetrics(b []byte) error {
	return eachAttr(b, func(typ uint16, v []byte) error {
		switch typ {
		case unix.RTAX_MTU:
			r.MTU = int(number(v))
		case unix.RTAX_ADVMSS:
			r.AdvMSS = int(number(v))
		}
		return nil
	})
}

func (r *linkRoute) parseHops(b []byte) error {
	for len(b) >= sizeofRtNexthop {
		size := int(nl.NativeEndian().Uint16(b))
		if size < sizeofRtNexthop || size > len(b) {
			return fmt.Errorf("next hop of %d bytes among %d", size, len(b))
		}
		h := hop{flags: uint32(b[2]), index: int(nl.NativeEndian().Uint32(b[4:]))}
		err := eachAttr(b[sizeofRtNexthop:size], func(typ uint16, v []byte) error {
			var err error
			switch typ {
			case unix.RTA_GATEWAY:
				h.gateway, err = addressOf(r.family, v)
			case unix.RTA_VIA, unix.RTA_ENCAP:
				r.Special = true
			}
			return err
		})
		if err != nil {
			return err
		}
		r.several = append(r.several, h)
		b = b[min(aligned(size), len(b)):]
	}
	return nil
}

// via calls each with the routes through the link among the next hops of r.
func (r *linkRoute) via(index int, each func(bond.Route)) {
	if !r.Dst.IsValid() || r.kind != unix.RTN_UNICAST || r.table == unix.RT_TABLE_LOCAL || r.flags&unix.RTM_F_CLONED != 0 {
		return
	}
	if len(r.several) == 0 {
		r.over(&r.only, index, each)
	}
	for i := range r.several {
		r.over(&r.several[i], index, each)
	}
}

// over calls each with the route over one next hop, if that is the link.
func (r *linkRoute) over(h *hop, index int, each func(bond.Route)) {
	if h.index != index {
		return
	}
	one := r.Route
	if r.table != unix.RT_TABLE_MAIN {
		one.Table = new(r.table)
	}
	one.Shared = len(r.several) > 1
	one.Gateway, one.OnLink = h.gateway, h.flags&unix.RTNH_F_ONLINK != 0
	if one.Dst.Addr().Is4() && r.scope != uint8(ownScope(one)) {
		one.Scope = new(int(r.scope))
	}
	each(one)
}
