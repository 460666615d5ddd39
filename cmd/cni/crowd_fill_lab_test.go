//go:build lab

package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// crowd is what a pod has besides the bond: links, and addresses and routes (half of them IPv6) on one of them. own are
// static routes on the bond itself.
type crowd struct{ routes, own, links, addresses int }

// fillWith adds a crowd to the pod, by rtnetlink requests of which many share a system call.
func (p *pod) fillWith(c crowd) {
	p.t.Helper()
	began := time.Now()
	p.ip("-n", p.name, "link", "set", "crowd0", "up")
	p.inBatch("crowd0", func(b *batch, index int) error {
		for i := range c.links {
			if err := b.add(dummyRequest(fmt.Sprintf("crowd%d", i+1))); err != nil {
				return err
			}
		}
		for i := range c.addresses {
			if err := b.add(addressRequest(index, nth("172.16.0.1", i))); err != nil {
				return err
			}
		}
		for i := range c.routes / 2 {
			if err := b.routes(index, nth("10.0.0.0", i), nth("2001:db8:100::", i)); err != nil {
				return err
			}
		}
		return nil
	})
	p.fillBond("bond0", c.own)
	p.t.Logf("the pod got %+v in %s", c, time.Since(began).Round(time.Millisecond))
}

// fillBond adds static routes to a bond.
func (p *pod) fillBond(name string, n int) {
	p.t.Helper()
	p.inBatch(name, func(b *batch, index int) error {
		for i := range n / 2 {
			if err := b.routes(index, nth("100.64.0.0", i), nth("2001:db8:200::", i)); err != nil {
				return err
			}
		}
		return nil
	})
}

// inBatch sends what fill adds for a link of the pod.
func (p *pod) inBatch(name string, fill func(b *batch, index int) error) {
	p.t.Helper()
	err := p.inside(func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		b, err := newBatch()
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(b.fd) }()
		if err := fill(b, l.Attrs().Index); err != nil {
			return err
		}
		return b.flush()
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

// nth is the address n after base.
func nth(base string, n int) netip.Addr {
	b := netip.MustParseAddr(base).AsSlice()
	last := b[len(b)-4:]
	binary.BigEndian.PutUint32(last, binary.BigEndian.Uint32(last)+uint32(n))
	a, _ := netip.AddrFromSlice(b)
	return a
}

// batchSize bounds a message of requests. The kernel handles all requests of a message at once.
const batchSize = 32 << 10

// batch sends requests without a response to each; the last of a message is acknowledged.
type batch struct {
	fd      int
	pending []byte
	last    int
}

func newBatch() (*batch, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	return &batch{fd: fd}, err
}

func (b *batch) add(req *nl.NetlinkRequest) error {
	b.last = len(b.pending)
	b.pending = append(b.pending, req.Serialize()...)
	for len(b.pending)%unix.NLMSG_ALIGNTO != 0 {
		b.pending = append(b.pending, 0)
	}
	if len(b.pending) < batchSize {
		return nil
	}
	return b.flush()
}

func (b *batch) flush() error {
	if len(b.pending) == 0 {
		return nil
	}
	flags := b.pending[b.last+6:]
	binary.NativeEndian.PutUint16(flags, binary.NativeEndian.Uint16(flags)|unix.NLM_F_ACK)
	if err := unix.Sendto(b.fd, b.pending, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	b.pending = b.pending[:0]
	var response [8192]byte
	n, _, err := unix.Recvfrom(b.fd, response[:], 0)
	if err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	if errno := int32(binary.NativeEndian.Uint32(response[unix.SizeofNlMsghdr:n])); errno != 0 { // the first one that failed, or the last
		return fmt.Errorf("a request of %d bytes failed: %w", n, unix.Errno(-errno))
	}
	return nil
}

// routes adds a host route for each address.
func (b *batch) routes(index int, all ...netip.Addr) error {
	for _, a := range all {
		req := nl.NewNetlinkRequest(unix.RTM_NEWROUTE, unix.NLM_F_CREATE)
		msg := nl.NewRtMsg()
		msg.Family, msg.Dst_len, msg.Scope, msg.Protocol = familyOf(a), uint8(a.BitLen()), unix.RT_SCOPE_LINK, unix.RTPROT_STATIC
		req.AddData(msg)
		req.AddData(nl.NewRtAttr(unix.RTA_DST, a.AsSlice()))
		req.AddData(nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(index))))
		if err := b.add(req); err != nil {
			return err
		}
	}
	return nil
}

func familyOf(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func addressRequest(index int, a netip.Addr) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.RTM_NEWADDR, unix.NLM_F_CREATE)
	msg := nl.NewIfAddrmsg(unix.AF_INET)
	msg.Prefixlen, msg.Index = uint8(a.BitLen()), uint32(index)
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFA_LOCAL, a.AsSlice()))
	return req
}

func dummyRequest(name string) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(unix.IFLA_INFO_KIND, nl.NonZeroTerminated("dummy"))
	req.AddData(info)
	return req
}
