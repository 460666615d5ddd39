package link

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netns"
)

const (
	// answerWithin bounds a single request: drivers hold the RTNL lock for seconds while
	// a VF is reset (iavf waits 2.5 s for its PF), and many may stand in line.
	answerWithin = 30 * time.Second
	// dumpTries bounds how often a dump that the kernel marked as inconsistent is repeated.
	dumpTries = 10
)

// conn is rtnetlink in one netns. It holds the netns open: close it soon.
type conn struct {
	ctx    context.Context
	ns     *netns.NS
	place  bond.Place
	raw    *nl.SocketHandle
	handle *netlink.Handle // for changes of addresses and routes
	sysfs  int             // the netns's sysfs; 0 if it is not open, negative if it cannot be
	sysctl string          // directory of the netns's sysctls, for who is in it
}

// dial takes ns over and closes it on failure. Only NETLINK_ROUTE is opened: sockets of
// other families make the kernel load modules.
func (k *Kernel) dial(ctx context.Context, ns *netns.NS, place bond.Place) (*conn, error) {
	c := &conn{ctx: ctx, ns: ns, place: place, sysctl: k.sysctl}
	err := ns.Do(func() error {
		s, err := nl.Subscribe(unix.NETLINK_ROUTE) // to no group: just a socket in this netns
		if err != nil {
			return err
		}
		c.raw = &nl.SocketHandle{Socket: s}
		c.handle, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	if err == nil {
		err = c.raw.Socket.SetExtAck(true)
	}
	if err == nil { // with it the kernel applies the filters of a dump request itself, and rejects those that it does not know
		err = unix.SetsockoptInt(c.raw.Socket.GetFd(), unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	}
	if err != nil {
		c.close()
		return nil, classify(fmt.Errorf("open rtnetlink in %s: %w", ns.Path(), err))
	}
	return c, nil
}

func (c *conn) close() {
	if c.raw != nil {
		c.raw.Close()
	}
	if c.handle != nil {
		c.handle.Close()
	}
	if c.sysfs > 0 {
		_ = unix.Close(c.sysfs)
	}
	_ = c.ns.Close()
}

// inTime gives the sockets what is left of the context's time.
func (c *conn) inTime() error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	left := answerWithin
	if deadline, set := c.ctx.Deadline(); set {
		left = max(time.Millisecond, min(left, time.Until(deadline)))
	}
	tv := unix.NsecToTimeval(left.Nanoseconds())
	return errors.Join(c.raw.Socket.SetSendTimeout(&tv), c.raw.Socket.SetReceiveTimeout(&tv), c.handle.SetSocketTimeout(left))
}

// do sends one request and collects its answers of type want. A dump goes through stream.
func (c *conn) do(req *nl.NetlinkRequest, want uint16) ([][]byte, error) {
	if err := c.inTime(); err != nil {
		return nil, err
	}
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: c.raw}
	return req.Execute(unix.NETLINK_ROUTE, want)
}

// stream sends one request and calls each with every answer of type want as it arrives, so that a long dump is never in
// memory as a whole. The first error of each is returned. If the context ends, the rest of the dump is not read, and
// the conn is of no more use.
func (c *conn) stream(req *nl.NetlinkRequest, want uint16, each func(m []byte) error) error {
	if err := c.inTime(); err != nil {
		return err
	}
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: c.raw}
	var failed error
	err := req.ExecuteIter(unix.NETLINK_ROUTE, want, func(m []byte) bool {
		if failed = c.ctx.Err(); failed != nil {
			_ = c.raw.Socket.SetReceiveTimeout(&unix.Timeval{Usec: 1}) // the next receive fails, instead of reading all the rest
		} else {
			failed = each(m)
		}
		return failed == nil
	})
	return cmp.Or(failed, err)
}

// untilWhole repeats a dump that was interrupted by a change: a partial list would look like a lost member. After
// dumpTries it returns netlink.ErrDumpInterrupted.
func (c *conn) untilWhole(dump func() error) error {
	for try := 1; ; try++ {
		err := dump()
		if !errors.Is(err, netlink.ErrDumpInterrupted) || try == dumpTries {
			return err
		}
	}
}
