package linktest

import (
	"fmt"
	"net/netip"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// External changes, as users and pods make them with ip(8). The link is identified by the path of its netns (Host for
// the host's) and its name there. The error is ErrGone if there is no such link, or the kernel's.

// MoveToHost moves a link into the host, with its name where that is free.
func (f *Fake) MoveToHost(path, name string) error {
	return f.onNamedLink(path, name, func(d *netdev) error {
		host := f.spaces[Host]
		if d.space != host && host.byName(name) != nil {
			return d.move(host, host.freeName("dev"))
		}
		return d.move(host, name)
	})
}

// MoveToNetns moves a link into another netns, under another name if to is not empty.
func (f *Fake) MoveToNetns(path, name, toPath, to string) error {
	return f.onNamedLink(path, name, func(d *netdev) error {
		s := f.spaces[toPath]
		if s == nil {
			return fmt.Errorf("netns %q: %w", toPath, bond.ErrGone)
		}
		if to == "" {
			to = name
		}
		return d.move(s, to)
	})
}

// Rename gives a link another name.
func (f *Fake) Rename(path, name, to string) error {
	return f.onNamedLink(path, name, func(d *netdev) error { return d.rename(to) })
}

// Enslave sets a link down and makes it a member of a bond.
func (f *Fake) Enslave(path, name, bondName string) error {
	return f.onNamedLink(path, name, func(d *netdev) error {
		to := d.space.byName(bondName)
		if to == nil {
			return fmt.Errorf("bond %s: %w", bondName, bond.ErrGone)
		}
		if d.master == nil {
			d.setDown()
		}
		return d.enslave(to)
	})
}

// AddMacvlan creates a macvlan on a link.
func (f *Fake) AddMacvlan(path, name, lower string) error {
	if _, err := f.addVirtual(path, name, "macvlan"); err != nil {
		return err
	}
	return f.onNamedLink(path, name, func(d *netdev) error {
		d.lower = d.space.byName(lower)
		return nil
	})
}

// Release releases a link from its bond (`nomaster`).
func (f *Fake) Release(path, name string) error {
	return f.onNamedLink(path, name, func(d *netdev) error {
		if d.master != nil {
			d.master.release(d)
		}
		return nil
	})
}

// DeleteLink deletes a link that can be deleted: a virtual one or a bond.
func (f *Fake) DeleteLink(path, name string) error {
	return f.onNamedLink(path, name, func(d *netdev) error {
		if d.pf != nil || d.vf != nil {
			return fmt.Errorf("%s is a device and cannot be deleted: %w", name, bond.ErrUnsupported)
		}
		d.unregister()
		return nil
	})
}

// DeleteBond deletes a bond.
func (f *Fake) DeleteBond(path, name string) error { return f.DeleteLink(path, name) }

// AddBond creates a bond without a record.
func (f *Fake) AddBond(path, name string, opts bond.Options) error {
	return f.inSpace(path, func(s *space) error { return f.newBond(s, name, opts, "", 0) })
}

// SetUp sets a link up.
func (f *Fake) SetUp(path, name string) error {
	return f.onNamedLink(path, name, func(d *netdev) error { d.setUp(); return nil })
}

// SetDown sets a link down.
func (f *Fake) SetDown(path, name string) error {
	return f.onNamedLink(path, name, func(d *netdev) error { d.setDown(); return nil })
}

// Downs returns how often a bond was set down, for reconcile.Config.
func (f *Fake) Downs(bond.Key) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.downs
}

// SetPF sets a PF up or down.
func (f *Fake) SetPF(pfName string, up bool) error {
	return f.onPF(pfName, func(p *pf) {
		switch {
		case p.link == nil:
		case up:
			p.link.setUp()
		default:
			p.link.setDown()
		}
	})
}

// SetMTU changes a link's MTU.
func (f *Fake) SetMTU(path, name string, mtu int) error {
	return f.onNamedLink(path, name, func(d *netdev) error { return d.setMTU(mtu) })
}

// SetMAC changes a link's MAC.
func (f *Fake) SetMAC(path, name string, m bond.MAC) error {
	return f.onNamedLink(path, name, func(d *netdev) error { return d.setAnyMAC(m) })
}

// SetCarrier plugs or pulls the cable of a virtual link.
func (f *Fake) SetCarrier(path, name string, on bool) error {
	return f.onNamedLink(path, name, func(d *netdev) error { d.plugged = on; return nil })
}

// SetOption changes an option of a bond, or fails as the kernel does.
func (f *Fake) SetOption(path, name string, option bond.Option, value string) error {
	return f.onNamedLink(path, name, func(d *netdev) error {
		if d.bond == nil {
			return fmt.Errorf("%s is not a bond: %w", name, bond.ErrUnsupported)
		}
		return d.setOption(option, value)
	})
}

// AddAddress adds an address to any link.
func (f *Fake) AddAddress(path, name string, p netip.Prefix) error {
	return f.onNamedLink(path, name, func(d *netdev) error { return d.addAddress(p) })
}

// AddAddresses adds addresses to any link.
func (f *Fake) AddAddresses(path, name string, all []netip.Prefix) error {
	return f.onNamedLink(path, name, func(d *netdev) error {
		for _, p := range all {
			if err := d.addAddress(p); err != nil {
				return err
			}
		}
		return nil
	})
}

// AddRoutes adds routes through any link. A special one (IPv4 only) has a TOS.
func (f *Fake) AddRoutes(path, name string, all []bond.Route) error {
	return f.onNamedLink(path, name, func(d *netdev) error {
		for _, r := range all {
			if err := d.addRoute(r); err != nil {
				return err
			}
		}
		return nil
	})
}

// AddSharedRoute adds a route with two next hops.
func (f *Fake) AddSharedRoute(path string, r bond.Route, hops [2]Hop) error {
	r.Shared = true
	for _, h := range hops {
		r.Gateway = h.Gateway
		if err := f.onNamedLink(path, h.Link, func(d *netdev) error { return d.addRoute(r) }); err != nil {
			return err
		}
	}
	return nil
}

// AddRoute adds a route through any link.
func (f *Fake) AddRoute(path, name string, r bond.Route) error {
	return f.onNamedLink(path, name, func(d *netdev) error { return d.addRoute(r) })
}

// DeleteRoute deletes the routes to a destination through a link from the main table, also one that the kernel added.
func (f *Fake) DeleteRoute(path, name string, dst netip.Prefix) error {
	return f.onNamedLink(path, name, func(d *netdev) error {
		for _, r := range d.allRoutes() {
			if r.Dst == dst && orMain(r.Table) == 254 {
				d.deleteRoute(r)
			}
		}
		return nil
	})
}

// FlushAddresses removes all addresses of a link, and with them its IPv4 routes.
func (f *Fake) FlushAddresses(path, name string) error {
	return f.onNamedLink(path, name, func(d *netdev) error { d.flush(); return nil })
}

// FlushRoutes removes all routes through a link.
func (f *Fake) FlushRoutes(path, name string) error {
	return f.onNamedLink(path, name, func(d *netdev) error { d.routes = nil; return nil })
}

func (f *Fake) onNamedLink(path, name string, do func(*netdev) error) error {
	return f.inSpace(path, func(s *space) error {
		d := s.byName(name)
		if d == nil {
			return fmt.Errorf("link %s in netns %q: %w", name, path, bond.ErrGone)
		}
		return do(d)
	})
}
