package link

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// linkEvents reports that links have changed in some netns, but not which: the caller reads them again.
type linkEvents struct {
	caller  context.Context // the context of the call that created it
	ctx     context.Context // the same with the timeout of the wait
	cancel  context.CancelFunc
	sockets []*nl.NetlinkSocket
	wake    int // an eventfd that is readable when ctx has ended
	woken   chan struct{}
	stop    func() bool
}

// listen subscribes to changes for a time. The same conn given twice is subscribed to once.
func listen(ctx context.Context, long time.Duration, in ...*conn) (*linkEvents, error) {
	e := &linkEvents{caller: ctx, wake: -1, woken: make(chan struct{})}
	ctx, e.cancel = context.WithTimeout(ctx, long)
	e.ctx = ctx
	var err error
	if e.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		e.close()
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	e.stop = context.AfterFunc(ctx, func() {
		_, _ = unix.Write(e.wake, []byte{1, 1, 1, 1, 1, 1, 1, 1}) // any number; the counter cannot be full
		close(e.woken)
	})
	for i, c := range in {
		if i > 0 && c == in[0] {
			continue
		}
		err := c.ns.Do(func() error {
			s, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK)
			if err == nil {
				e.sockets = append(e.sockets, s)
			}
			return err
		})
		if err != nil {
			e.close()
			return nil, fmt.Errorf("listen to links %s: %w", c.place, err)
		}
	}
	return e, nil
}

func (e *linkEvents) close() {
	if e.stop != nil && !e.stop() {
		<-e.woken // it writes to the descriptor, which must still be open
	}
	e.cancel()
	for _, s := range e.sockets {
		s.Close()
	}
	if e.wake >= 0 {
		_ = unix.Close(e.wake)
	}
}

// next waits for a change and returns false when the time has passed. It returns the error of the caller's
// context if that has ended.
func (e *linkEvents) next() (bool, error) {
	fds := []unix.PollFd{{Fd: int32(e.wake), Events: unix.POLLIN}}
	for _, s := range e.sockets {
		fds = append(fds, unix.PollFd{Fd: int32(s.GetFd()), Events: unix.POLLIN})
	}
	for {
		_, err := unix.Poll(fds, -1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("wait for links: %w", err)
		}
		break
	}
	if e.ctx.Err() != nil {
		return false, e.caller.Err()
	}
	for _, s := range e.sockets {
		drain(s.GetFd())
	}
	return true, nil
}

// drain reads all received messages. Lost ones (ENOBUFS) were changes, too.
func drain(fd int) {
	var buf [1 << 15]byte
	for {
		_, _, err := unix.Recvfrom(fd, buf[:], unix.MSG_DONTWAIT)
		if err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
