package link

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// ifaProto is IFA_PROTO (linux/if_addr.h, since Linux 5.18): who made an address.
const ifaProto = 11

// Values of IFA_PROTO: the kernel from a router advertisement, or a VRRP daemon, which moves the address between hosts
// and must not find it restored.
const (
	ifaProtoRA         = 2  // IFAPROT_KERNEL_RA
	ifaProtoKeepalived = 18 // RTPROT_KEEPALIVED
)

// linkAddress is one RTM_NEWADDR message. The netlink library does not decode IFA_PROTO.
type linkAddress struct {
	index                           int
	prefix                          netip.Prefix
	transient, tentative, duplicate bool
}

// observeAddresses fills in the addresses of a link. Link-local IPv6 addresses are the kernel's own and left out, unless the
// record has them.
func (c *conn) observeAddresses(index int, r *bond.Record, o *bond.ObservedBond) error {
	all, err := untilWhole(c, func() ([]linkAddress, error) { return c.dumpAddresses(index) })
	if err != nil {
		return classify(fmt.Errorf("list the bond's addresses: %w", err))
	}
	for _, a := range all {
		if p := a.prefix; p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() && !recorded(r, p) {
			continue
		}
		o.Addresses = append(o.Addresses, a.prefix)
		if a.transient {
			o.Transient = append(o.Transient, a.prefix)
		}
		switch {
		case a.duplicate:
			o.Duplicates = append(o.Duplicates, a.prefix)
		case a.tentative:
			o.Tentative = append(o.Tentative, a.prefix)
		}
	}
	return nil
}

func (c *conn) dumpAddresses(index int) ([]linkAddress, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETADDR, unix.NLM_F_DUMP)
	msg := nl.NewIfAddrmsg(unix.AF_UNSPEC)
	msg.Index = uint32(index) //nolint:gosec // an ifindex is positive
	req.AddData(msg)
	msgs, err := c.do(req, unix.RTM_NEWADDR)
	if err != nil {
		return nil, err
	}
	var out []linkAddress
	for _, m := range msgs {
		a, err := parseAddress(m)
		if err != nil {
			return nil, err
		}
		if a.index == index && a.prefix.IsValid() {
			out = append(out, a)
		}
	}
	return out, nil
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
		a.prefix = netip.PrefixFrom(local, int(info.Prefixlen))
	}
	a.duplicate, a.tentative = flags&unix.IFA_F_DADFAILED != 0, flags&unix.IFA_F_TENTATIVE != 0
	// One with a peer is not kept either: a prefix does not describe it.
	a.transient = flags&unix.IFA_F_PERMANENT == 0 || flags&(unix.IFA_F_TEMPORARY|unix.IFA_F_MANAGETEMPADDR) != 0 ||
		proto == ifaProtoRA || proto == ifaProtoKeepalived || peer.IsValid() && peer != local
	return a, err
}
