package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/netns"
	"github.com/bondkeeper/bondkeeper/test/bench/message"
)

// watchedPod is a pod of a fleet whose member net1 is released again and again. Everything that a repair needs is at hand.
type watchedPod struct {
	ns      *netns.NS
	in      *nl.NetlinkSocket
	bond    int // ifindex
	updates chan netlink.LinkUpdate
	done    chan struct{}
}

func watchPod(path string) (*watchedPod, error) {
	ns, err := netns.Open(path)
	if err != nil {
		return nil, err
	}
	p := &watchedPod{ns: ns, updates: make(chan netlink.LinkUpdate, 256), done: make(chan struct{})}
	err = ns.Do(func() (err error) {
		if p.in, err = nl.Subscribe(unix.NETLINK_ROUTE); err != nil {
			return err
		}
		return netlink.LinkSubscribeWithOptions(p.updates, p.done, netlink.LinkSubscribeOptions{ReceiveBufferSize: 1 << 19, ReceiveBufferForceSize: true})
	})
	if err == nil {
		err = inNetns(path, func(h *netlink.Handle) error {
			b, failed := h.LinkByName(bondName)
			if failed == nil {
				p.bond = b.Attrs().Index
			}
			return failed
		})
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *watchedPod) close() error {
	close(p.done)
	if p.in != nil {
		p.in.Close()
	}
	return p.ns.Close()
}

// release takes net1 out of the bond, and waits until that is seen.
func (p *watchedPod) release(ctx context.Context) error {
	drain(p.updates)
	if err := message.Send(p.in, message.Enslave("net1", 0)); err != nil {
		return fmt.Errorf("release net1: %w", err)
	}
	_, err := await(ctx, p.updates, func(u netlink.LinkUpdate) bool {
		return u.Attrs().Name == "net1" && u.Attrs().MasterIndex == 0
	})
	return err
}

// enslave does what a repair has to do.
func (p *watchedPod) enslave() error { return message.Send(p.in, message.Enslave("net1", p.bond)) }

// recovered waits until net1 is in the bond and up, and returns when that was.
func (p *watchedPod) recovered(ctx context.Context) (time.Time, error) {
	_, err := await(ctx, p.updates, isBack(p.bond))
	if err != nil {
		err = fmt.Errorf("net1 in the bond of %s: %w", p.ns.Path(), err)
	}
	return time.Now(), err
}
