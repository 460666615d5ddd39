package link

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netns"
)

const (
	// replyTimeout bounds a single request: drivers hold the RTNL lock for seconds while
	// a VF is reset (iavf waits 2.5 s for its PF), and many requests may wait for the lock.
	replyTimeout = 30 * time.Second
	// dumpTries bounds how often a dump that the kernel marked as inconsistent is repeated.
	dumpTries = 10
)

// conn is an rtnetlink socket in one netns, for one operation at a time. It keeps the netns open, so close it soon;
// Hold keeps it for the next operation.
type conn struct {
	ctx   context.Context
	ns    *netns.NS
	place bond.Location
	// sandbox is that of a pod; zero for the host.
	sandbox bond.Sandbox
	raw     *nl.SocketHandle
	handle  *netlink.Handle // for changes of addresses and routes; nil before the first one
	sysfs   int             // the netns's sysfs; 0 if it is not open, negative if it cannot be
	sysctl  string          // directory of the sysctls, for a thread in the netns
	kernel  *Kernel         // for what is kept from one conn to the next
	genl    *conn           // the netns's generic netlink socket; nil before the first use
	buffer  []byte          // for the messages of dumps
	// timeout is what the socket was last limited to.
	timeout time.Duration
	// pending: the response to the last request was not read to its end.
	pending bool
	// searched are the VFs that FindMembers has read for an ADD. Its first observation does not read them again: whether
	// they can be enslaved is checked before each change.
	searched devices
	// pause is called before each part of a dump is received; an error ends the dump. May be nil.
	pause func() error
}

// dial owns ns and closes it on failure. Only NETLINK_ROUTE is opened: sockets of some
// other families make the kernel load modules.
func (k *Kernel) dial(ctx context.Context, ns *netns.NS, place bond.Location) (*conn, error) {
	c := &conn{ctx: ctx, ns: ns, place: place, sysctl: k.sysctl, kernel: k}
	err := c.open(unix.NETLINK_ROUTE)
	if err == nil {
		err = c.raw.Socket.SetExtAck(true)
	}
	if err == nil { // the kernel then applies the filters of a dump request, and rejects unknown ones
		err = unix.SetsockoptInt(c.raw.Socket.GetFd(), unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	}
	if err != nil {
		c.shut()
		return nil, classify(fmt.Errorf("open rtnetlink in %s: %w", ns.Path(), err))
	}
	return c, nil
}

// open opens the socket. The host's netns is mostly that of this process; then no thread need enter it.
func (c *conn) open(protocol int) error {
	socket := func() (int, error) {
		s, err := nl.Subscribe(protocol) // to no group: just a socket in this netns
		if err != nil {
			return -1, err
		}
		c.raw = &nl.SocketHandle{Socket: s}
		return s.GetFd(), nil
	}
	if c.place == bond.InHost && c.kernel.host == "" {
		_, err := socket()
		return err
	}
	return c.ns.OpenSocket(socket)
}

// generic returns a socket for generic netlink in the same netns. It is closed with c.
func (c *conn) generic() (*conn, error) {
	if c.genl == nil {
		g := &conn{ctx: c.ctx, ns: c.ns, place: c.place, kernel: c.kernel, buffer: c.buffer}
		if err := g.open(unix.NETLINK_GENERIC); err != nil {
			if g.raw != nil {
				g.raw.Close()
			}
			return nil, classify(fmt.Errorf("open generic netlink in %s: %w", c.ns.Path(), err))
		}
		c.genl = g
	}
	return c.genl, nil
}

// close ends the operation. It may be called for a conn that was not opened.
func (c *conn) close() {
	if c != nil && !c.kernel.conns.retain(c) {
		c.shut()
	}
}

// shut closes all that is open.
func (c *conn) shut() {
	if c.raw != nil {
		c.raw.Close()
	}
	if c.genl != nil {
		c.genl.raw.Close()
	}
	if c.handle != nil {
		c.handle.Close()
	}
	if c.sysfs > 0 {
		_ = unix.Close(c.sysfs)
	}
	_ = c.ns.Close()
}

// inTime limits the socket to the context's remaining time.
func (c *conn) inTime() error {
	left, err := c.left()
	if err != nil {
		return err
	}
	if left == c.timeout {
		return nil
	}
	c.timeout = left
	tv := unix.NsecToTimeval(left.Nanoseconds())
	return errors.Join(c.raw.Socket.SetSendTimeout(&tv), c.raw.Socket.SetReceiveTimeout(&tv))
}

func (c *conn) left() (time.Duration, error) {
	left := replyTimeout
	if deadline, set := c.ctx.Deadline(); set {
		left = max(time.Millisecond, min(left, time.Until(deadline)))
	}
	return left, c.ctx.Err()
}

// changes is the netlink library's interface for changes of addresses and routes, which observations do not need.
func (c *conn) changes() (*netlink.Handle, error) {
	left, err := c.left()
	if err == nil && c.handle == nil {
		err = c.ns.Do(func() (err error) {
			c.handle, err = netlink.NewHandle(unix.NETLINK_ROUTE)
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	return c.handle, c.handle.SetSocketTimeout(left)
}

// do sends one request and returns its responses of type want. A dump goes through stream. It waits for the result of a
// change even if the context ends, because that result must be known.
func (c *conn) do(req *nl.NetlinkRequest, want uint16) (responses [][]byte, err error) {
	add := func(m []byte) error {
		responses = append(responses, slices.Clone(m))
		return nil
	}
	return responses, c.exchange(req, want, add, func() error { return nil })
}

// retryInterruptedDump repeats a dump that was interrupted by a change: a partial list would look like a lost member.
// After dumpTries it returns netlink.ErrDumpInterrupted.
func (c *conn) retryInterruptedDump(dump func() error) error {
	for try := 1; ; try++ {
		err := dump()
		if !errors.Is(err, netlink.ErrDumpInterrupted) || try == dumpTries {
			return err
		}
	}
}
