package link

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// ifaProto is IFA_PROTO (linux/if_addr.h, since Linux 5.18): the origin of an address.
const ifaProto = 11

// Values of IFA_PROTO: the kernel from a router advertisement, or a VRRP daemon, which moves the address between hosts
// and must not find it restored.
const (
	ifaProtoRA         = 2  // IFAPROT_KERNEL_RA
	ifaProtoKeepalived = 18 // RTPROT_KEEPALIVED
)

// linkAddress is one RTM_NEWADDR message. The netlink library does not decode IFA_PROTO.
type linkAddress struct {
	index int
	plan.ObservedAddress
}

// observeAddresses reads the addresses of a link. Link-local IPv6 addresses are the kernel's own and left out, unless
// the record has them.
func (c *conn) observeAddresses(r *bond.Record, o *bond.ObservedBond) error {
	err := c.retryInterruptedDump(func() error {
		list := plan.NewAddressList(r, o)
		return c.addresses(o.Index, func(a linkAddress) {
			if p := a.Prefix; p.Addr().Is4() || !p.Addr().IsLinkLocalUnicast() || recorded(r, p) {
				list.Add(a.ObservedAddress)
			}
		})
	})
	if err != nil {
		return classify(fmt.Errorf("list the bond's addresses: %w", err))
	}
	return nil
}

func addressRequest(index int) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.RTM_GETADDR, unix.NLM_F_DUMP)
	msg := nl.NewIfAddrmsg(unix.AF_UNSPEC)
	msg.Index = uint32(index) //nolint:gosec // an ifindex is positive
	req.AddData(msg)
	return req
}

// addresses calls each with the addresses of a link. The kernel selects them.
func (c *conn) addresses(index int, each func(linkAddress)) error {
	err := c.stream(addressRequest(index), unix.RTM_NEWADDR, func(m []byte) error {
		a, err := parseAddress(m)
		if err == nil && a.index == index && a.Prefix.IsValid() {
			each(a)
		}
		return err
	})
	if errors.Is(err, unix.ENODEV) { // the link was deleted
		return nil
	}
	return err
}

// observeRoutes reads the routes of a link.
func (c *conn) observeRoutes(r *bond.Record, o *bond.ObservedBond) error {
	err := c.retryInterruptedDump(func() error { return c.routes(o.Index, plan.NewRouteList(r, o).Add) })
	if err != nil {
		return classify(fmt.Errorf("list the bond's routes: %w", err))
	}
	return nil
}

func parseAddress(m []byte) (linkAddress, error) {
	if len(m) < unix.SizeofIfAddrmsg {
		return linkAddress{}, errors.New("address message is too short")
	}
	info := nl.DeserializeIfAddrmsg(m)
	a, flags, proto := linkAddress{index: int(info.Index)}, uint32(info.Flags), byte(0)
	var local, peer netip.Addr
	err := eachAttr(m[info.Len():], func(typ uint16, v []byte) error {
		switch typ {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(v)
		case unix.IFA_ADDRESS:
			peer, _ = netip.AddrFromSlice(v)
		case unix.IFA_FLAGS:
			flags = number(v)
		case ifaProto:
			if len(v) == 1 {
				proto = v[0]
			}
		}
		return nil
	})
	if !local.IsValid() {
		local = peer // IPv6 has no IFA_LOCAL unless there is a peer
	}
	if local.IsValid() {
		a.Prefix = netip.PrefixFrom(local, int(info.Prefixlen))
	}
	a.Duplicate, a.Tentative = flags&unix.IFA_F_DADFAILED != 0, flags&unix.IFA_F_TENTATIVE != 0
	// One with a peer is not recorded either: a prefix does not describe it.
	a.Transient = flags&unix.IFA_F_PERMANENT == 0 || flags&(unix.IFA_F_TEMPORARY|unix.IFA_F_MANAGETEMPADDR) != 0 ||
		proto == ifaProtoRA || proto == ifaProtoKeepalived || peer.IsValid() && peer != local
	return a, err
}
