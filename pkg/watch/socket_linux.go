package watch

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxMessage is more than the largest event: the list of a link's alternative names, which
// a pod can make as long as it likes, ends at 64 KiB (rtnl_alt_ifname in net/core/rtnetlink.c).
const maxMessage = 128 << 10

// groups are those with messages that can concern a bond.
var groups = []int{
	unix.RTNLGRP_NSID, unix.RTNLGRP_LINK,
	unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
	unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
}

var errTruncated = errors.New("an event longer than the receive buffer")

// socket is an rtnetlink socket of the host that receives messages of every netns with an ID. receive is for one
// goroutine; close is safe for concurrent use.
type socket struct {
	file *os.File
	conn syscall.RawConn
	// Buffers for receive, so that it allocates nothing: Recvmsg of x/sys allocates a sender's address per message.
	data   []byte
	oob    [64]byte
	sender unix.RawSockaddrNetlink
	vector unix.Iovec
	header unix.Msghdr
	try    func(fd uintptr) bool
	n      int
	errno  syscall.Errno
	// handling is held from the receipt of messages until the next receive, so that drained misses none in between; held
	// is receive's.
	handling sync.Mutex
	held     bool
	// waiting are closed when there is nothing to read; guarded by handling.
	waiting []chan struct{}
	// failed is called after a receive error, before drained ends because of it; may be nil.
	failed func()
}

// openSocket must be called in the host's netns. It needs CAP_NET_BROADCAST.
func openSocket(receiveBuffer int) (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open an rtnetlink socket: %w", err)
	}
	if err = setUp(fd, receiveBuffer); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	s := &socket{file: os.NewFile(uintptr(fd), "rtnetlink"), data: make([]byte, maxMessage)}
	if s.conn, err = s.file.SyscallConn(); err != nil {
		return nil, errors.Join(fmt.Errorf("rtnetlink socket: %w", err), s.file.Close())
	}
	s.vector.Base = &s.data[0]
	s.vector.SetLen(len(s.data))
	s.header.Name = (*byte)(unsafe.Pointer(&s.sender))
	s.header.Iov = &s.vector
	s.header.SetIovlen(1)
	s.header.Control = &s.oob[0]
	s.try = s.attempt
	return s, nil
}

// setUp subscribes to all netns before it joins a group, so that no message of a joined group is missed.
func setUp(fd, receiveBuffer int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer); err != nil {
		// Without CAP_NET_ADMIN on the node the kernel limits the size to net.core.rmem_max.
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer); err != nil {
			return fmt.Errorf("set the rtnetlink socket's receive buffer to %d bytes: %w", receiveBuffer, err)
		}
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_LISTEN_ALL_NSID, 1); err != nil {
		return fmt.Errorf("listen to the links of all pods (this needs CAP_NET_BROADCAST): %w", err)
	}
	if err := attachFilter(fd); err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("bind the rtnetlink socket: %w", err)
	}
	for _, g := range groups {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g); err != nil {
			return fmt.Errorf("join rtnetlink group %d: %w", g, err)
		}
	}
	return nil
}

// receive waits for messages and returns them with the ID of their netns; noNSID means the host's. The bytes are valid,
// and the messages count as not handled, until the next call. After close it returns an error.
func (s *socket) receive() (data []byte, nsid int32, err error) {
	s.release()
	if err = s.conn.Read(s.try); err != nil {
		s.handling.Lock()
	}
	s.held = true
	if err == nil {
		data, nsid, err = s.received()
	}
	if err != nil {
		if s.failed != nil {
			s.failed()
		}
		s.wake()
		s.release()
		return nil, noNSID, err
	}
	return data, nsid, nil
}

// release ends the handling of the last messages.
func (s *socket) release() {
	if s.held {
		s.held = false
		s.handling.Unlock()
	}
}

// attempt is one attempt of receive. If there was something to read, handling is held.
func (s *socket) attempt(fd uintptr) bool {
	s.handling.Lock()
	if s.recvmsg(fd) {
		return true
	}
	s.wake()
	s.handling.Unlock()
	return false
}

// wake ends all drained calls.
func (s *socket) wake() {
	for _, w := range s.waiting {
		close(w)
	}
	s.waiting = nil
}

// drained waits until all messages that the socket had at the call are handled, until receiving failed, or until ctx
// ends. It is safe for concurrent use.
func (s *socket) drained(ctx context.Context) {
	s.handling.Lock()
	if !s.readable() {
		s.handling.Unlock()
		return
	}
	empty := make(chan struct{})
	s.waiting = append(s.waiting, empty)
	s.handling.Unlock()
	select {
	case <-empty:
	case <-ctx.Done():
	}
}

// readable reports whether there is something to read; false if the socket is closed.
func (s *socket) readable() bool {
	n := 0
	err := s.conn.Control(func(fd uintptr) {
		n, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0) //nolint:gosec // a file descriptor
	})
	return err == nil && n > 0
}

// receiveNow is like receive without waiting; the error is unix.EAGAIN if there is no message.
func (s *socket) receiveNow() ([]byte, int32, error) {
	if err := s.conn.Control(func(fd uintptr) { s.recvmsg(fd) }); err != nil {
		return nil, noNSID, err
	}
	return s.received()
}

// received evaluates the last recvmsg.
func (s *socket) received() ([]byte, int32, error) {
	switch {
	case s.errno != 0:
		return nil, noNSID, s.errno
	case s.header.Flags&unix.MSG_TRUNC != 0:
		return nil, noNSID, errTruncated
	case s.sender.Pid != 0:
		return nil, noNSID, nil // not from the kernel: a privileged process can send such messages
	}
	return s.data[:s.n], controlNSID(s.oob[:s.header.Controllen]), nil
}

// recvmsg is one attempt; false makes the Go runtime wait until there is something to read.
func (s *socket) recvmsg(fd uintptr) bool {
	for {
		s.header.Namelen = unix.SizeofSockaddrNetlink
		s.header.SetControllen(len(s.oob))
		n, _, errno := unix.Syscall(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&s.header)), unix.MSG_DONTWAIT)
		if errno == unix.EINTR {
			continue
		}
		s.n, s.errno = int(n), errno
		return errno != unix.EAGAIN
	}
}

// close wakes a waiting receive.
func (s *socket) close() error { return s.file.Close() }

// controlNSID reads the control message with the netns of a message; there is none for the socket's own netns
// (netlink_cmsg_listen_all_nsid in net/netlink/af_netlink.c).
func controlNSID(oob []byte) int32 {
	if len(oob) < unix.CmsgLen(4) {
		return noNSID
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
	if h.Level != unix.SOL_NETLINK || h.Type != unix.NETLINK_LISTEN_ALL_NSID {
		return noNSID
	}
	return int32(binary.NativeEndian.Uint32(oob[unix.CmsgLen(0):]))
}
