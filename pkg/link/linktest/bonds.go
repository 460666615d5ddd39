package linktest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// bonding is the part of a link that makes it a bond. Comments name the functions of drivers/net/bonding/bond_main.c
// that it imitates.
type bonding struct {
	fake    *Fake
	opts    bond.Options // see options.go; without the options that name links
	members []*netdev    // in the order of enslaving
	active  *netdev
	// primaryName outlives the member of that name; primary is set while the member is enslaved.
	primaryName  string
	primary      *netdev
	forcePrimary bool
	// ownMAC is false while the bond has a random MAC that the first member replaces.
	ownMAC bool
}

func (b *bonding) activeBackup() bool { return b.opts.Mode() == bond.ModeActiveBackup }

// usesPrimary reports whether the bond has one active member (bond_uses_primary).
func (b *bonding) usesPrimary() bool {
	return slices.Contains([]bond.Mode{bond.ModeActiveBackup, bond.ModeTLB, bond.ModeALB}, b.opts.Mode())
}

// balancesMACs reports whether members keep their own MACs and the active one has the bond's.
func (b *bonding) balancesMACs() bool { return b.usesPrimary() && !b.activeBackup() }

func (b *bonding) failOverMAC() string {
	if !b.activeBackup() {
		return "none"
	}
	return b.opts[bond.OptFailOverMac]
}

func (b *bonding) monitored() bool {
	return b.opts[bond.OptMiimon] != "0" || b.opts[bond.OptArpInterval] != "0"
}

// carries reports whether the bond has carrier: if any member is up, in mode 802.3ad by its aggregators.
func (b *bonding) carries() bool {
	if b.opts.Mode() == bond.Mode8023AD {
		return b.aggregatorCarries()
	}
	return slices.ContainsFunc(b.members, func(m *netdev) bool { return m.linkState })
}

// findsUp reports whether the monitor finds a member to be up: with ARP monitoring by the targets' answers.
func (b *bonding) findsUp(m *netdev) bool {
	return m.carrier() && (b.opts[bond.OptArpInterval] == "0" || !m.silent)
}

// enslave is bond_enslave.
func (d *netdev) enslave(to *netdev) error {
	switch {
	case d.master == to:
		return nil
	case to.bond == nil || d == to || d.bond != nil || d.space != to.space:
		return fmt.Errorf("%s cannot be a member of %s: %w", d.name, to.name, bond.ErrUnsupported)
	}
	if d.master != nil {
		return fmt.Errorf("%s is a member of %s already: %w", d.name, d.master.name, bond.ErrStale)
	}
	if d.up {
		return fmt.Errorf("%s is up and cannot be enslaved while it is: %w", d.name, bond.ErrBusy)
	}
	for _, other := range d.space.sorted() {
		if other.lower == d {
			return fmt.Errorf("%s is in use by %s (kind %q)", d.name, other.name, other.kind)
		}
	}
	b := to.bond
	if len(b.members) == 0 && !b.ownMAC {
		to.mac, b.ownMAC = d.mac, true
	}
	d.ownMAC, d.ownMTU = d.mac, d.mtu
	if err := to.inheritFromBond(d); err != nil {
		_ = d.setMTU(d.ownMTU)
		_ = d.setMAC(d.ownMAC)
		return err
	}
	d.master, d.queueID, d.prio, d.portPrio = to, 0, 0, bond.DefaultActorPortPrio
	d.setUp()
	// A VF gets its carrier some time after it was set up; the monitor finds it once the bond is up.
	d.linkState = !b.monitored() || d.carrier() && d.vf == nil
	if b.usesPrimary() && b.primaryName == d.name {
		b.primary, b.forcePrimary = d, true
	}
	b.members = append(b.members, d)
	if b.usesPrimary() {
		to.selectActive()
	}
	return nil
}

// inheritFromBond gives a new member the bond's MTU, and its MAC if the mode requires it.
func (d *netdev) inheritFromBond(member *netdev) error {
	if err := member.setMTU(d.mtu); err != nil {
		return err
	}
	b := d.bond
	switch {
	case b.balancesMACs():
		return d.balance(member)
	case b.failOverMAC() == "none":
		if err := member.setMAC(d.mac); err != nil { // as pkg/link reports it
			return fmt.Errorf("the driver of %s refuses the MAC that %s gives its members (%s): %w; if it is a VF, "+
				"trust it on its PF (ip link set PF vf N trust on), or use active-backup with failOverMac=active", member.name, d.name, d.mac, err)
		}
	case b.failOverMAC() == "follow" && len(b.members) > 0 && member.mac == d.mac && kernelSeparatesMACs(b.fake.release):
		return member.setMAC(b.fake.randomMAC())
	}
	return nil
}

// balance is bond_enslave, which sets the bond's MAC, and bond_alb_init_slave, which restores the member's own. If
// another member already has that one, it is swapped for a free one, whose owner has the bond's
// (alb_handle_addr_collision_on_attach).
func (d *netdev) balance(member *netdev) error {
	own := member.mac
	if err := member.setMAC(d.mac); err != nil {
		return err
	}
	if err := d.bond.give(member, own); err != nil {
		return err
	}
	has := func(mac bond.MAC) bool {
		return slices.ContainsFunc(d.bond.members, func(m *netdev) bool { return m.mac == mac })
	}
	if !has(member.mac) {
		return nil
	}
	for _, m := range d.bond.members {
		if !has(m.ownMAC) {
			return d.bond.give(member, m.ownMAC)
		}
	}
	return fmt.Errorf("%s has MAC %s, which another member of %s has", member.name, member.mac, d.name)
}

// give is alb_set_slave_mac_addr: balance-tlb does not set the card's MAC.
func (b *bonding) give(member *netdev, mac bond.MAC) error {
	if b.opts.Mode() != bond.ModeTLB {
		return member.setMAC(mac)
	}
	member.mac = mac
	return nil
}

// release is __bond_release_one.
func (d *netdev) release(member *netdev) {
	b := d.bond
	wasActive := b.active == member
	b.members = slices.DeleteFunc(b.members, func(m *netdev) bool { return m == member })
	member.master = nil
	if b.primary == member {
		b.primary = nil
	}
	if wasActive {
		d.changeActive(nil)
	}
	if b.balancesMACs() {
		d.swapBack(member)
	}
	if wasActive {
		d.selectActive()
	}
	if len(b.members) == 0 {
		d.mac, b.ownMAC = b.fake.randomMAC(), false
	}
	member.undress(b.failOverMAC() != "active")
}

// swapBack is alb_change_hw_addr_on_detach: the member with the leaving member's MAC gets the MAC that the leaving one
// has.
func (d *netdev) swapBack(leaving *netdev) {
	if leaving.mac == leaving.ownMAC || leaving.ownMAC == d.mac {
		return
	}
	for _, m := range d.bond.members {
		if m.mac == leaving.ownMAC {
			_ = d.bond.give(m, leaving.mac)
			return // the other gets its own below
		}
	}
}

// releaseAll is bond_uninit: no new active member is chosen in between.
func (d *netdev) releaseAll() {
	b := d.bond
	b.active, b.primary = nil, nil
	members := b.members
	b.members = nil
	for _, m := range members {
		m.master = nil
		m.undress(b.failOverMAC() != "active")
	}
}

// undress closes a released member and restores its previous state.
func (d *netdev) undress(mac bool) {
	d.setDown()
	d.linkState = false
	if mac {
		_ = d.setMAC(d.ownMAC) // the kernel ignores a driver's error here
	}
	_ = d.setMTU(d.ownMTU) // as with the MAC
}

// monitor is bond_mii_monitor, which runs only while the bond is up. ARP monitoring does the same with the targets'
// responses.
func (d *netdev) monitor() {
	b := d.bond
	if !d.up || !b.monitored() || b.fake.monitorsPaused {
		return
	}
	failover := false
	for _, m := range b.members {
		carries := b.findsUp(m)
		if carries == m.linkState {
			continue
		}
		m.linkState = carries
		if carries {
			failover = failover || b.active == nil || m == b.primary || m.prio > b.active.prio
		} else {
			failover = failover || m == b.active
		}
	}
	if failover && b.usesPrimary() {
		d.selectActive()
	}
}

// selectActive is bond_select_active_slave.
func (d *netdev) selectActive() { d.changeActive(d.bond.primaryOrCurrent()) }

// primaryOrCurrent is bond_choose_primary_or_current; all links have the same speed and duplex here. Without a primary
// that is up, the first member with the highest priority that is up is treated like a primary (since Linux 6.0). With
// primary_reselect=always it becomes active at every selection, and every enslaving causes one.
func (b *bonding) primaryOrCurrent() *netdev {
	current := b.active
	if current != nil && !current.linkState {
		current = nil
	}
	prim := b.primary
	if prim == nil || !prim.linkState {
		prim = nil
		for _, m := range b.members {
			if m.linkState && (prim == nil || m.prio > prim.prio) {
				prim = m
			}
		}
		if prim == nil {
			return nil
		}
	} else if b.forcePrimary {
		b.forcePrimary = false
		return prim
	}
	if current != nil && b.opts[bond.OptPrimaryReselect] != "always" {
		return current // "better" compares speed and duplex
	}
	return prim
}

// changeActive is bond_change_active_slave with bond_do_fail_over_mac.
func (d *netdev) changeActive(to *netdev) {
	b := d.bond
	from := b.active
	if from == to {
		return
	}
	b.active = to
	if to == nil {
		return
	}
	switch {
	case b.failOverMAC() == "active":
		d.mac, b.ownMAC = to.mac, true
	case b.failOverMAC() == "follow" || b.balancesMACs():
		d.handMAC(from, to)
	}
}

// handMAC gives the bond's MAC to the new active member, in exchange with the previous owner. In balance-tlb the card
// of the new active member gets it, and the other's keeps it (bond_alb_handle_active_change).
func (d *netdev) handMAC(from, to *netdev) {
	give := (*netdev).setMAC
	if d.bond.balancesMACs() {
		give = d.bond.give
	}
	if d.bond.opts.Mode() == bond.ModeTLB {
		own := to.mac
		_ = to.setMAC(d.mac)
		to.mac = own
	}
	if from == nil {
		i := slices.IndexFunc(d.bond.members, func(m *netdev) bool { return m != to && m.mac == d.mac })
		if i >= 0 {
			from = d.bond.members[i]
		}
	}
	if from == nil {
		_ = give(to, d.mac)
		return
	}
	old := to.mac
	if give(to, from.mac) == nil {
		_ = give(from, old)
	}
}

// setBondMAC is bond_set_mac_address: it has no effect and no error if the MAC is the active member's.
func (d *netdev) setBondMAC(m bond.MAC) error {
	b := d.bond
	b.ownMAC = true
	if b.failOverMAC() != "none" || d.mac == m && !kernelSetsSameMAC(b.fake.release) {
		return nil
	}
	if b.opts.Mode() == bond.ModeALB {
		return d.setALBMAC(m)
	}
	var errs []error
	for _, member := range b.members {
		errs = append(errs, member.setMAC(m))
	}
	if err := errors.Join(errs...); err != nil {
		for _, member := range b.members {
			_ = member.setMAC(d.mac)
		}
		return err
	}
	d.mac = m
	return nil
}

// setALBMAC is bond_alb_set_mac_address: only the active member gets the new MAC, in exchange for its own if another
// member has the new one.
func (d *netdev) setALBMAC(m bond.MAC) error {
	b := d.bond
	d.mac = m
	if b.active == nil {
		return nil
	}
	i := slices.IndexFunc(b.members, func(o *netdev) bool { return o.mac == m })
	if i < 0 {
		return b.active.setMAC(m)
	}
	other, old := b.members[i], b.active.mac
	return errors.Join(b.active.setMAC(m), other.setMAC(old))
}

// memberRenamed is bond_slave_netdev_event for NETDEV_CHANGENAME.
func (d *netdev) memberRenamed(m *netdev) {
	b := d.bond
	switch {
	case !b.usesPrimary() || b.primaryName == "":
		return
	case b.primary == m:
		b.primary = nil
	case b.primaryName == m.name:
		b.primary = m
	default:
		return
	}
	d.selectActive()
}

// setActive is bond_option_active_slave_set.
func (d *netdev) setActive(m *netdev) error {
	b := d.bond
	switch {
	case !b.usesPrimary():
		return fmt.Errorf("%s: mode %s has no active member: %w", d.name, b.opts.Mode(), bond.ErrUnsupported)
	case m == nil:
		b.active = nil
		d.selectActive()
	case m.master != d:
		return fmt.Errorf("%s is not a member of %s", m.name, d.name)
	case m == b.active:
	case b.active == nil || !m.linkState || !m.up:
		return fmt.Errorf("%s cannot be made the active member, it or its link is down: %w", m.name, bond.ErrBusy)
	default:
		d.changeActive(m)
	}
	return nil
}
