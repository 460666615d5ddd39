package watch

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// eventFilter accepts the messages that enqueue can use. The kernel runs it before it puts a message into the socket's
// buffer (do_one_broadcast in net/netlink/af_netlink.c). So a pod that adds routes or addresses all day neither fills
// the buffer nor wakes the agent. A filter cannot see which netns a message comes from. Every notification of these
// groups is a datagram of one message, so it is enough to check the first.
func eventFilter() ([]bpf.RawInstruction, error) {
	const (
		kind, flags, family = 4, 6, unix.SizeofNlMsghdr // offsets of nlmsg_type, nlmsg_flags and ifi_family
		all                 = math.MaxUint32
	)
	return bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: kind, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: loaded(unix.RTM_NEWLINK), SkipTrue: 6},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: loaded(unix.RTM_DELLINK), SkipTrue: 5},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: loaded(unix.RTM_NEWROUTE), SkipTrue: 6},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: loaded(unix.RTM_DELROUTE), SkipTrue: 8},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: loaded(unix.RTM_DELADDR), SkipTrue: 7},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: loaded(unix.RTM_DELNSID), SkipTrue: 6},
		bpf.RetConstant{Val: 0},
		// A link, but not a bridge's additional message about its ports.
		bpf.LoadAbsolute{Off: family, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_UNSPEC, SkipTrue: 3, SkipFalse: 2},
		// A new route: only one that replaced another.
		bpf.LoadAbsolute{Off: flags, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: loaded(unix.NLM_F_REPLACE), SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.RetConstant{Val: all},
	})
}

// loaded returns a netlink value, which is in the host's byte order, as the filter loads it: in network byte order.
func loaded(v uint16) uint32 {
	return uint32(binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, v)))
}

// attachFilter must precede joining a group, so that the buffer holds nothing else.
func attachFilter(fd int) error {
	raw, err := eventFilter()
	if err != nil {
		return fmt.Errorf("assemble the event filter: %w", err)
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: unsafe.SliceData(filter)}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program); err != nil {
		return fmt.Errorf("attach the event filter to the rtnetlink socket: %w", err)
	}
	return nil
}
