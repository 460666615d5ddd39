package main

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/netns"
	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

const bondName = "bond0"

// pod is a netns with two links, net1 and net2.
type pod struct {
	name    string
	members []string
	ns      *netns.NS
	links   *netlink.Handle // in the netns
}

// newPod makes a netns. It needs a later end.
func newPod(name string) (*pod, error) {
	p := &pod{name: name, members: []string{"net1", "net2"}}
	if err := kit.AddNetns(p.path()); err != nil {
		return nil, err
	}
	var err error
	if p.ns, err = netns.Open(p.path()); err == nil {
		err = p.ns.Do(func() (err error) {
			p.links, err = netlink.NewHandle(unix.NETLINK_ROUTE)
			return err
		})
	}
	if err != nil {
		return nil, errors.Join(err, p.end())
	}
	return p, nil
}

func (p *pod) path() string { return "/run/netns/" + p.name }

// end deletes the netns; its VFs return to the host.
func (p *pod) end() error {
	if p.links != nil {
		p.links.Close()
	}
	if p.ns != nil {
		_ = p.ns.Close()
	}
	return kit.DeleteNetns(p.path())
}

// takeVFs moves the VF of that number of each of the guest's cards into the pod.
func (p *pod) takeVFs(guest *topology.Topology, number int) error {
	if len(guest.Cards) < len(p.members) {
		return fmt.Errorf("the guest has %d cards, want %d", len(guest.Cards), len(p.members))
	}
	l := kit.Links{}
	for i, m := range p.members {
		card := guest.Cards[i]
		if err := l.SetPF(card.PF.PCI, true); err != nil {
			return err
		}
		now, err := topology.Netdev(card.VFs[number].PCI)
		if err != nil {
			return err
		}
		if err = l.MoveToNetns("", now, p.path(), m); err != nil {
			return err
		}
	}
	return nil
}

// reset makes the pod as its first plugins leave it: no bond, and each member up. A contender may leave it otherwise.
func (p *pod) reset() error {
	for _, m := range p.members {
		l, err := p.links.LinkByName(m)
		if err == nil {
			err = p.links.LinkSetUp(l)
		}
		if err != nil {
			return fmt.Errorf("member %s: %w", m, err)
		}
	}
	if _, err := p.links.LinkByName(bondName); err == nil {
		return fmt.Errorf("%s still exists", bondName)
	}
	return nil
}

// check returns an error unless the bond is up and has all members.
func (p *pod) check() error {
	b, err := p.links.LinkByName(bondName)
	if err != nil {
		return err
	}
	for _, m := range p.members {
		l, err := p.links.LinkByName(m)
		if err != nil {
			return err
		}
		if l.Attrs().MasterIndex != b.Attrs().Index || l.Attrs().Flags&b.Attrs().Flags&net.FlagUp == 0 {
			return fmt.Errorf("%s is not enslaved and up", m)
		}
	}
	return nil
}
