// Package message has the netlink messages of the lower bounds: requests about links, addressed by ifindex or by name so
// that nothing need be looked up, and a socket that only waits for their acknowledgements.
package message

import (
	"errors"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Link is a request about a link, by its ifindex or, if that is 0, its name. With both, the name is a new one.
func Link(kind, flags, index int, name string) *nl.NetlinkRequest {
	return about(nl.NewIfInfomsg(unix.AF_UNSPEC), kind, flags, index, name)
}

// SetUp sets a link up or down.
func SetUp(index int, name string, up bool) *nl.NetlinkRequest {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Change = unix.IFF_UP
	if up {
		msg.Flags = unix.IFF_UP
	}
	return about(msg, unix.RTM_SETLINK, 0, index, name)
}

func about(msg *nl.IfInfomsg, kind, flags, index int, name string) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(kind, flags|unix.NLM_F_ACK)
	msg.Index = int32(index) //nolint:gosec // an ifindex
	req.AddData(msg)
	if name != "" {
		req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	}
	return req
}

// Move moves a link to an open netns, with a name.
func Move(index int, name string, fd int) *nl.NetlinkRequest {
	req := Link(unix.RTM_SETLINK, 0, index, name)
	req.AddData(nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(fd)))) //nolint:gosec // a descriptor
	return req
}

// Enslave enslaves the link of a name.
func Enslave(name string, master int) *nl.NetlinkRequest {
	req := Link(unix.RTM_SETLINK, 0, 0, name)
	req.AddData(nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(master)))) //nolint:gosec // an ifindex
	return req
}

// Send sends a request and waits for its acknowledgement, which is the only message.
func Send(s *nl.NetlinkSocket, req *nl.NetlinkRequest) error {
	if err := s.Send(req); err != nil {
		return err
	}
	messages, _, err := s.Receive()
	if err != nil {
		return err
	}
	if len(messages) != 1 || messages[0].Header.Type != unix.NLMSG_ERROR {
		return errors.New("no acknowledgement")
	}
	if errno := -int32(nl.NativeEndian().Uint32(messages[0].Data)); errno != 0 { //nolint:gosec // an errno
		return unix.Errno(errno) //nolint:gosec // positive
	}
	return nil
}
