package watch

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// message has the parts of an rtnetlink message that are used. It comes from the kernel, but a pod can make the kernel
// send nearly anything.
type message struct {
	kind  uint16 // RTM_*
	flags uint16 // NLM_F_*
	// index is the ifindex of a link or address message.
	index int32
	// state are the interface flags (IFF_*) of a link message.
	state uint32
	// parent is the name of the link's device, for a PCI function its address. It points into the parsed buffer. It is
	// empty before kernel 5.14.
	parent []byte
	// nsid is the netns ID that a message about such IDs is about.
	nsid int32
}

// next parses the first message of b; ok is false if b has no complete message. If the body is too short for the kind,
// the returned kind is 0.
func next(b []byte) (m message, rest []byte, ok bool) {
	if len(b) < unix.SizeofNlMsghdr {
		return m, nil, false
	}
	size := int(binary.NativeEndian.Uint32(b))
	if size < unix.SizeofNlMsghdr || size > len(b) {
		return m, nil, false
	}
	m.kind = binary.NativeEndian.Uint16(b[4:])
	m.flags = binary.NativeEndian.Uint16(b[6:])
	if !m.body(b[unix.SizeofNlMsghdr:size]) {
		m.kind = 0
	}
	return m, b[min(align(size), len(b)):], true
}

// body parses what follows the header, depending on kind.
func (m *message) body(b []byte) bool {
	switch m.kind {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		return m.link(b)
	case unix.RTM_DELADDR:
		if len(b) < unix.SizeofIfAddrmsg {
			return false
		}
		m.index = int32(binary.NativeEndian.Uint32(b[4:]))
	case unix.RTM_DELNSID:
		if len(b) < align(unix.SizeofRtGenmsg) {
			return false
		}
		id := attribute(b[align(unix.SizeofRtGenmsg):], unix.NETNSA_NSID)
		if len(id) != 4 {
			return false
		}
		m.nsid = int32(binary.NativeEndian.Uint32(id))
	}
	return true
}

func (m *message) link(b []byte) bool {
	// For bridge ports there are AF_BRIDGE messages besides the link's own.
	if len(b) < unix.SizeofIfInfomsg || b[0] != unix.AF_UNSPEC {
		return false
	}
	m.index = int32(binary.NativeEndian.Uint32(b[4:]))
	m.state = binary.NativeEndian.Uint32(b[8:])
	m.parent = attribute(b[unix.SizeofIfInfomsg:], unix.IFLA_PARENT_DEV_NAME)
	if n := len(m.parent); n > 0 && m.parent[n-1] == 0 {
		m.parent = m.parent[:n-1]
	}
	return true
}

// attribute returns the value of the first attribute of that kind in b, or nil.
func attribute(b []byte, kind uint16) []byte {
	for len(b) >= unix.SizeofRtAttr {
		size := int(binary.NativeEndian.Uint16(b))
		if size < unix.SizeofRtAttr || size > len(b) {
			return nil
		}
		if binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER) == kind {
			return b[unix.SizeofRtAttr:size]
		}
		b = b[min(align(size), len(b)):]
	}
	return nil
}

// align rounds up to the four bytes to which netlink aligns headers and attributes.
func align(n int) int { return (n + 3) &^ 3 }
