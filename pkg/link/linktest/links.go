package linktest

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// netdev is a link of any kind.
type netdev struct {
	alias     string
	space     *space
	serial    uint64
	index     int
	name      string
	kind      string
	mac, perm bond.MAC
	mtu       int
	up        bool
	addrs     []netip.Prefix
	failed    map[netip.Prefix]bool // duplicate address detection
	routes    []bond.Route
	unrouted  []netip.Prefix // addresses whose own route was deleted
	settings  bond.LinkSettings
	ethtool   bond.Ethtool
	upper     *netdev // what a bond is enslaved to
	table     int     // of a VRF
	lower     *netdev // what a macvlan was made on

	plugged bool     // a virtual link's cable
	pf      *pf      // set when the link is a PF
	vf      *vf      // set when the link is a VF
	bond    *bonding // set when the link is a bond

	master    *netdev
	ownMAC    bond.MAC // its MAC before it was enslaved, which is restored later
	ownMTU    int
	linkState bool // the bond's view of it
	silent    bool // neither ARP targets nor an LACP partner respond behind it
	queueID   uint16
	prio      int32
	portPrio  uint16
}

func (s *space) byName(name string) *netdev {
	for _, d := range s.links {
		if d.name == name {
			return d
		}
	}
	return nil
}

// sorted returns the links by ifindex.
func (s *space) sorted() []*netdev {
	all := make([]*netdev, 0, len(s.links))
	for _, d := range s.links {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b *netdev) int { return cmp.Compare(a.index, b.index) })
	return all
}

// add registers a link with the next index of the netns; indexes are not reused.
func (s *space) add(d *netdev) *netdev {
	for ok := true; ok; _, ok = s.links[s.lastIndex] {
		s.lastIndex++
	}
	if s.serials++; d.serial == 0 {
		d.serial = s.inode<<32 | s.serials // unique over all netns
	}
	d.space, d.index = s, s.lastIndex
	d.settings = newSettings()
	if d.ethtool == nil { // it keeps them when it is moved
		d.ethtool = d.newEthtool()
	}
	s.links[d.index] = d
	return d
}

// newSettings are the settings of a link that is new in its netns.
func newSettings() bond.LinkSettings {
	return bond.LinkSettings{TxQLen: 1000, Flags: bond.FlagMulticast, IPv4: make([]int32, 33), IPv6: make([]int32, 60), Neigh: []bond.Sysctl{}, TC: []string{}}
}

// freeName is the first of prefix0, prefix1, … that is free.
func (s *space) freeName(prefix string) string {
	for i := 0; ; i++ {
		if name := fmt.Sprintf("%s%d", prefix, i); s.byName(name) == nil {
			return name
		}
	}
}

// carrier is IFF_LOWER_UP, which a link has only while it is up.
func (d *netdev) carrier() bool {
	switch {
	case !d.up:
		return false
	case d.bond != nil:
		return d.bond.carries()
	case d.pf != nil:
		return d.pf.wire
	case d.vf != nil:
		if d.vf.settings.HasLinkState(bond.LinkStateDisable) {
			return false
		}
		return d.vf.pf.link != nil && d.vf.pf.link.carrier() && d.vf.dead == 0
	default:
		return d.plugged
	}
}

func (d *netdev) describe() bond.Link {
	l := bond.Link{
		Index: d.index, Name: d.name, Kind: d.kind, MAC: d.mac, PermMAC: d.perm,
		MTU: d.mtu, Up: d.up, Carrier: d.carrier(), Alias: d.alias,
	}
	switch {
	case d.pf != nil:
		l.PCI = d.pf.pci
	case d.vf != nil:
		l.PCI = d.vf.pci
	}
	if d.master != nil {
		l.Master = d.master.index
	}
	if d.upper != nil {
		l.Master = d.upper.index
	}
	return l
}

// setUp is dev_open. A bounce (down and up) revives a VF that was reset.
func (d *netdev) setUp() {
	if d.up {
		return
	}
	d.up, d.unrouted = true, nil // the kernel makes their routes again (fib_inetaddr_event, addrconf_dad_run)
	if d.vf != nil {
		d.vf.opened()
	}
}

// setDown is dev_close: the routes are deleted, and so are IPv6 addresses (addrconf_ifdown).
func (d *netdev) setDown() {
	if !d.up {
		return
	}
	d.up = false
	if d.bond != nil {
		d.space.fake.downs++
	}
	d.reset()
	d.routes = nil
	d.addrs = slices.DeleteFunc(d.addrs, func(p netip.Prefix) bool { return p.Addr().Is6() && !d.retainsIPv6() })
}

// reset is what igbvf does when a link is closed or its MTU is changed: the link then has the card's MAC.
func (d *netdev) reset() {
	if d.vf != nil {
		d.mac = d.vf.card
	}
}

// setMAC is dev_set_mac_address for a link that is not a bond. The driver is not called for the link's current MAC.
func (d *netdev) setMAC(m bond.MAC) error {
	if d.vf != nil && d.mac != m {
		if err := d.vf.mayUse(m); err != nil {
			return err
		}
		if d.vf.pf.lateMACs {
			d.vf.pending = m
			return nil
		}
		d.vf.card = m
		d.vf.reported()
	}
	d.mac = m
	return nil
}

// setMTU is dev_set_mtu: the current MTU is not set again, neither on the link nor on a bond's members.
func (d *netdev) setMTU(mtu int) error {
	if mtu < 68 || mtu > 65535 {
		return fmt.Errorf("%s: MTU %d is out of bounds", d.name, mtu)
	}
	if d.mtu == mtu {
		return nil
	}
	if d.bond != nil {
		for _, m := range d.bond.members {
			if err := m.setMTU(mtu); err != nil {
				return err
			}
		}
	}
	d.mtu = mtu
	if d.vf != nil { // with miimon=100 every second time it is noticed
		d.reset()
		d.blink()
	}
	return nil
}

// blink is a loss of carrier that a monitor sees before it ends.
func (d *netdev) blink() {
	if !d.up || d.master == nil {
		return
	}
	d.up = false
	d.master.monitor()
	d.up = true
}

func (d *netdev) rename(to string) error {
	if d.name == to {
		return nil
	}
	if err := bond.ValidateIfName(to); err != nil {
		return err
	}
	if d.space.byName(to) != nil {
		return fmt.Errorf("%s cannot be renamed: a link %s is there already: %w", d.name, to, bond.ErrStale)
	}
	if d.up && !KernelRenamesUp(d.space.fake.release) {
		return fmt.Errorf("%s is up: %w", d.name, bond.ErrBusy)
	}
	d.name = to
	if d.master != nil {
		d.master.memberRenamed(d)
	}
	return nil
}

// renameDown is a rename that may interrupt the link if it is not the active member.
func (d *netdev) renameDown(a plan.Rename) error {
	err := d.rename(a.To)
	if !errors.Is(err, bond.ErrBusy) || !a.Interrupt || d.isActive() {
		return err
	}
	d.setDown()
	err = d.rename(a.To)
	d.setUp()
	return err
}

func (d *netdev) isActive() bool {
	return d.master != nil && d.master.bond != nil && d.master.bond.active == d
}

// unregister removes the link; a bond releases its members first.
func (d *netdev) unregister() {
	d.leave()
	delete(d.space.links, d.index)
	for _, o := range d.space.links {
		if o.lower == d {
			o.unregister()
		}
	}
}

// leave is what happens to a link that leaves its netns: it is released and closed.
func (d *netdev) leave() {
	if d.bond != nil {
		d.releaseAll()
	}
	for _, o := range d.space.links {
		if o.upper == d {
			o.setUpper(nil)
		}
	}
	if d.master != nil {
		d.master.release(d)
	}
	d.setDown()
	d.addrs = nil
}

// move moves the link to another netns. It keeps its index if that is free there (__dev_change_net_namespace). A bond
// cannot move.
func (d *netdev) move(to *space, name string) error { return d.moveAs(to, name, 0) }

// moveAs is move with an ifindex, which must be free; 0 leaves it to the kernel.
func (d *netdev) moveAs(to *space, name string, index int) error {
	if d.bond != nil {
		return fmt.Errorf("%s is a bond and cannot change its netns: %w", d.name, bond.ErrUnsupported)
	}
	if err := bond.ValidateIfName(name); err != nil {
		return err
	}
	if to.byName(name) != nil {
		return fmt.Errorf("%s cannot be moved: a link %s is there already: %w", d.name, name, bond.ErrStale)
	}
	if _, taken := to.links[index]; taken {
		return fmt.Errorf("%s cannot be moved: a link with ifindex %d is there already: %w", d.name, index, bond.ErrBusy)
	}
	d.leave()
	delete(d.space.links, d.index)
	d.name = name
	// The sysctls become the new netns's defaults (inetdev_init, ipv6_add_dev); queue length and flags stay. The
	// queueing disciplines are deleted (dev_shutdown).
	fresh := newSettings()
	d.settings.TC = fresh.TC
	d.settings.IPv4, d.settings.IPv6, d.settings.Neigh = fresh.IPv4, fresh.IPv6, fresh.Neigh
	if index != 0 {
		d.index = index
	}
	if _, taken := to.links[d.index]; taken {
		left := d.settings
		to.add(d)
		d.settings = left
		return nil
	}
	d.space = to
	to.links[d.index] = d
	return nil
}
