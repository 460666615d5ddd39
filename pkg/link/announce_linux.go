package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// announce announces the addresses with the bond's MAC to the neighbours: a gratuitous ARP
// request for IPv4 (RFC 5227, section 3) and an unsolicited neighbour advertisement for IPv6 (RFC 4861, 7.2.6).
// The kernel does so by itself after a failover, but not after an address was restored.
func (c *conn) announce(b *device, ips []netip.Addr) error {
	return c.ns.Do(func() error {
		// SOCK_DGRAM: the kernel writes the Ethernet header. Protocol 0: nothing is received.
		s, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("packet socket: %w", err)
		}
		defer func() { _ = unix.Close(s) }()
		var errs []error
		for _, ip := range ips {
			to := &unix.SockaddrLinklayer{Ifindex: b.Index, Halen: 6}
			var packet []byte
			if ip.Is4() {
				packet = gratuitousARP(b.MAC, ip)
				to.Protocol, to.Addr = bigEndian(unix.ETH_P_ARP), [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
			} else {
				packet = unsolicitedNA(b.MAC, ip)
				to.Protocol, to.Addr = bigEndian(unix.ETH_P_IPV6), [8]byte{0x33, 0x33, 0, 0, 0, 1}
			}
			if err := unix.Sendto(s, packet, 0, to); err != nil {
				errs = append(errs, fmt.Errorf("announce %s: %w", ip, err))
			}
		}
		return errors.Join(errs...)
	})
}

func bigEndian(n uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n))
}

// gratuitousARP is an ARP request for the sender's own address.
func gratuitousARP(mac bond.MAC, ip netip.Addr) []byte {
	p := []byte{0, 1, 8, 0, 6, 4, 0, 1} // Ethernet, IPv4, their lengths, request
	p = append(p, mac.Bytes()...)
	p = append(p, ip.AsSlice()...)
	p = append(p, 0, 0, 0, 0, 0, 0)
	return append(p, ip.AsSlice()...)
}

// unsolicitedNA is an IPv6 packet to all nodes with the override flag and the target's MAC.
func unsolicitedNA(mac bond.MAC, ip netip.Addr) []byte {
	allNodes := netip.MustParseAddr("ff02::1")
	na := []byte{136, 0, 0, 0, 0x20, 0, 0, 0} // type, code, checksum, flags
	na = append(na, ip.AsSlice()...)
	na = append(na, 2, 1) // target link-layer address, in units of 8 bytes
	na = append(na, mac.Bytes()...)

	pseudo := append(append([]byte{}, ip.AsSlice()...), allNodes.AsSlice()...)
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(na)))
	pseudo = binary.BigEndian.AppendUint32(pseudo, unix.IPPROTO_ICMPV6)
	binary.BigEndian.PutUint16(na[2:], checksum(append(pseudo, na...)))

	p := []byte{0x60, 0, 0, 0, 0, byte(len(na)), unix.IPPROTO_ICMPV6, 255}
	p = append(p, ip.AsSlice()...)
	p = append(p, allNodes.AsSlice()...)
	return append(p, na...)
}

// checksum is that of RFC 1071 over an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
