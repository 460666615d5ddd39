package link

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// receiveBuffer holds what the kernel sends at once: of a dump 32 KiB (netlink_dump in net/netlink/af_netlink.c), and
// more where a single message is longer. A pod can make that about a link longer than 64 KiB, by alternative names.
const receiveBuffer = 128 << 10

// stream sends one request and calls each with every message of type want as it arrives, so that a long dump is never
// completely in memory. The message is valid until each returns. An error of each, of pause or of the context is
// returned at once. The rest of the dump is then not read, and the conn can no longer be used.
//
// The netlink library would allocate a buffer per part of the dump and a slice per message. That takes several times as
// long as the kernel needs to send the routes of a large table.
func (c *conn) stream(req *nl.NetlinkRequest, want uint16, each func(m []byte) error) error {
	return c.exchange(req, want, each, c.mayGoOn)
}

// exchange is stream with a check before each part of the response.
func (c *conn) exchange(req *nl.NetlinkRequest, want uint16, each func(m []byte) error, mayGoOn func() error) error {
	if err := c.inTime(); err != nil {
		return err
	}
	if c.buffer == nil {
		c.buffer = make([]byte, receiveBuffer)
	}
	req.Seq = atomic.AddUint32(&c.raw.Seq, 1)
	c.pending = true
	if err := c.raw.Socket.Send(req); err != nil {
		return err
	}
	d := dump{seq: req.Seq, want: want, each: each}
	for {
		if err := mayGoOn(); err != nil {
			return err
		}
		n, err := c.receive()
		if err != nil {
			return err
		}
		err = d.take(c.buffer[:n])
		c.pending = !d.done
		if err != nil || d.done {
			return err
		}
	}
}

func (c *conn) mayGoOn() error {
	if err := c.ctx.Err(); err != nil || c.pause == nil {
		return err
	}
	return c.pause()
}

// receive fills the buffer with the next part of a dump.
func (c *conn) receive() (int, error) {
	fd := c.raw.Socket.GetFd()
	_, timeout := c.raw.Socket.GetTimeouts()
	for end := time.Now().Add(timeout); ; {
		n, from, err := unix.Recvfrom(fd, c.buffer, 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			left := time.Until(end)
			if left <= 0 {
				return 0, err
			}
			_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1) //nolint:gosec // a descriptor
			if err != nil && !errors.Is(err, unix.EINTR) {
				return 0, err
			}
			continue
		case err != nil:
			return 0, err
		}
		if kernel, ok := from.(*unix.SockaddrNetlink); !ok || kernel.Pid != nl.PidKernel {
			continue
		}
		return n, nil
	}
}

// dump is a response of several messages.
type dump struct {
	seq         uint32
	want        uint16
	each        func(m []byte) error
	interrupted bool
	done        bool
}

// take handles one part of the response. Its error is that of each, or the kernel's.
func (d *dump) take(b []byte) error {
	for len(b) >= unix.NLMSG_HDRLEN && !d.done {
		size := int(nl.NativeEndian().Uint32(b))
		if size < unix.NLMSG_HDRLEN || size > len(b) {
			return fmt.Errorf("netlink message of %d bytes among %d", size, len(b))
		}
		if err := d.message(b[:size]); err != nil {
			return err
		}
		b = b[min(aligned(size), len(b)):]
	}
	return nil
}

func (d *dump) message(b []byte) error {
	order := nl.NativeEndian()
	kind, flags, body := order.Uint16(b[4:]), order.Uint16(b[6:]), b[unix.NLMSG_HDRLEN:]
	if order.Uint32(b[8:]) != d.seq { // of an earlier request that timed out
		return nil
	}
	d.interrupted = d.interrupted || flags&unix.NLM_F_DUMP_INTR != 0
	d.done = kind == unix.NLMSG_DONE || kind == unix.NLMSG_ERROR || flags&unix.NLM_F_MULTI == 0
	switch {
	case kind == unix.NLMSG_DONE || kind == unix.NLMSG_ERROR:
		if err := kernelError(kind, flags, body); err != nil {
			return err
		}
	case kind == d.want:
		if err := d.each(body); err != nil {
			return err
		}
	}
	if d.done && d.interrupted {
		return netlink.ErrDumpInterrupted
	}
	return nil
}

// kernelError returns the result at the end of a response, with the kernel's message if there is one.
func kernelError(kind, flags uint16, body []byte) error {
	const sizeofErrno = 4
	if len(body) < sizeofErrno {
		return nil
	}
	errno := -int32(nl.NativeEndian().Uint32(body)) //nolint:gosec // an error is a small negative number
	if errno == 0 {
		return nil
	}
	err := error(unix.Errno(errno)) //nolint:gosec // positive
	attrs := body[sizeofErrno:]
	if kind == unix.NLMSG_ERROR { // the request follows, or its header
		skip := unix.NLMSG_HDRLEN
		if flags&unix.NLM_F_CAPPED == 0 && len(attrs) >= skip {
			skip = int(nl.NativeEndian().Uint32(attrs))
		}
		attrs = attrs[min(aligned(skip), len(attrs)):]
	}
	if flags&unix.NLM_F_ACK_TLVS != 0 {
		_ = eachAttr(attrs, func(typ uint16, v []byte) error {
			if typ == unix.NLMSGERR_ATTR_MSG {
				err = fmt.Errorf("%w: %s", err, text(v))
			}
			return nil
		})
	}
	return err
}

// aligned rounds up to the four bytes to which netlink aligns messages, attributes and next hops.
func aligned(n int) int { return (n + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1) }
