package linktest

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// kernelDefaults are the options of a new bond (bond_check_params, bond_setup). Delays are in units of miimon, as in
// the kernel.
func kernelDefaults() bond.Options {
	o := bond.Options{}
	for _, d := range bond.OptionDefs() {
		if d.Kind != bond.KindLink {
			o[d.Name] = d.Default
		}
	}
	o[bond.OptMiimon] = "0" // the table's 100 is the plugin's default
	o[bond.OptAdActorSystem] = "00:00:00:00:00:00"
	return o
}

// newBond is bond_newlink; if an option is rejected, there is no bond.
func (f *Fake) newBond(s *space, name string, opts bond.Options, mac bond.MAC, mtu int) error {
	if err := bond.ValidateIfName(name); err != nil {
		return err
	}
	if s.byName(name) != nil {
		return fmt.Errorf("bond %s cannot be made: a link of that name is there already: %w", name, bond.ErrStale)
	}
	d := &netdev{name: name, kind: "bond", mac: mac, mtu: 1500}
	d.bond = &bonding{fake: f, opts: kernelDefaults(), ownMAC: mac != ""}
	if mac == "" {
		d.mac = f.randomMAC()
	}
	if mtu != 0 {
		d.mtu = mtu
	}
	d.space = s // options find links by name in the bond's netns
	opts = opts.Clone()
	delete(opts, bond.OptActiveSlave) // there is no active member yet
	if p, set := opts[bond.OptPrimary]; set && s.byName(p) == nil {
		delete(opts, bond.OptPrimary) // the kernel knows links by ifindex only
	}
	if err := d.setOptions(opts); err != nil {
		return err
	}
	if err := d.bond.verifyOptions(opts); err != nil {
		return err
	}
	s.add(d)
	return nil
}

// setOptions sets what it can; the error names each rejected option.
func (d *netdev) setOptions(opts bond.Options) error {
	var errs []error
	for _, name := range opts.Names() {
		if err := d.setOption(name, opts[name]); err != nil {
			errs = append(errs, fmt.Errorf("%s: %s=%s: %w", d.name, name, opts[name], err))
		}
	}
	return errors.Join(errs...)
}

// setOption is bond_changelink for one option: a link is looked up first.
func (d *netdev) setOption(name bond.Option, value string) error {
	def := bond.LookupOption(name)
	if def == nil {
		return bond.ErrUnsupported
	}
	if def.Kind == bond.KindLink {
		return d.setLinkOption(def, value)
	}
	if err := d.mayChange(def); err != nil {
		return err
	}
	canonical, err := def.Parse(value)
	if err != nil {
		return err
	}
	if !KernelAccepts(d.space.fake.release, name, canonical) {
		return fmt.Errorf("this kernel has no %s=%s: %w", name, canonical, bond.ErrUnsupported)
	}
	err = d.bond.store(name, canonical)
	if err == nil && name == bond.OptPrimaryReselect && d.bond.usesPrimary() {
		d.selectActive()
	}
	return err
}

func (d *netdev) setLinkOption(def *bond.OptionDef, value string) error {
	link := d.space.byName(value)
	if link == nil && value != "" {
		return fmt.Errorf("link %s: %w", value, bond.ErrGone)
	}
	if err := d.mayChange(def); err != nil {
		return err
	}
	if def.Name == bond.OptActiveSlave {
		return d.setActive(link)
	}
	d.setPrimary(link)
	return nil
}

// mayChange is bond_opt_check_deps, which is called even if the value is already set.
func (d *netdev) mayChange(def *bond.OptionDef) error {
	b := d.bond
	switch {
	case !def.ValidIn(b.opts.Mode()) && !takenInAnyMode(def.Name):
		return fmt.Errorf("not in mode %s: %w", b.opts.Mode(), bond.ErrUnsupported)
	case def.Changeable&bond.NoMembers != 0 && len(b.members) > 0:
		return fmt.Errorf("not while the bond has members: %w", bond.ErrBusy)
	case def.Changeable&bond.BondDown != 0 && d.up:
		return fmt.Errorf("not while the bond is up: %w", bond.ErrBusy)
	}
	return nil
}

// takenInAnyMode: the option table is stricter than the kernel, which accepts targets without an ARP monitor that could
// use them.
func takenInAnyMode(name bond.Option) bool {
	return name == bond.OptArpIPTargets || name == bond.OptNsIP6Targets
}

// store sets a value and those that the kernel changes with it.
func (b *bonding) store(name bond.Option, value string) error {
	switch name {
	case bond.OptMode:
		b.modeChanged(value)
	case bond.OptMiimon:
		if value != "0" {
			b.opts[bond.OptArpInterval], b.opts[bond.OptArpValidate] = "0", "none"
		}
	case bond.OptArpInterval:
		if value != "0" {
			b.opts[bond.OptMiimon] = "0"
		}
	case bond.OptUpdelay, bond.OptDowndelay, bond.OptPeerNotifyDelay:
		units, err := b.inMiimons(value)
		if err != nil {
			return err
		}
		value = units
	}
	b.opts[name] = value
	return nil
}

// modeChanged is bond_option_mode_set: modes without ARP monitoring get MII monitoring.
func (b *bonding) modeChanged(mode string) {
	if !bond.LookupOption(bond.OptArpInterval).ValidIn(bond.Options{bond.OptMode: mode}.Mode()) {
		b.opts[bond.OptArpInterval] = "0"
		if b.opts[bond.OptMiimon] == "0" {
			b.opts[bond.OptMiimon] = "100"
		}
	}
	b.opts[bond.OptArpValidate] = "none"
}

func (b *bonding) inMiimons(value string) (string, error) {
	ms, err := strconv.Atoi(value)
	if err != nil {
		return "", err
	}
	miimon, err := strconv.Atoi(b.opts[bond.OptMiimon])
	if err != nil || miimon == 0 {
		return "", fmt.Errorf("MII monitoring is off: %w", bond.ErrUnsupported)
	}
	return strconv.Itoa(ms / miimon), nil
}

// setPrimary is bond_option_primary_set; nil clears it.
func (d *netdev) setPrimary(link *netdev) {
	b := d.bond
	if link == nil {
		b.primaryName, b.primary = "", nil
		d.selectActive()
		return
	}
	b.primaryName = link.name
	if link.master == d {
		b.primary, b.forcePrimary = link, true
		d.selectActive()
		return
	}
	if b.primary != nil {
		b.primary = nil
		d.selectActive()
	}
}

// reported returns the options like bond_fill_info.
func (b *bonding) reported() bond.Options {
	reported := b.opts.Clone()
	for _, delay := range []bond.Option{bond.OptUpdelay, bond.OptDowndelay, bond.OptPeerNotifyDelay} {
		units, _ := strconv.Atoi(b.opts[delay])
		miimon, _ := strconv.Atoi(b.opts[bond.OptMiimon])
		reported[delay] = strconv.Itoa(units * miimon)
	}
	if b.opts.Mode() != bond.Mode8023AD {
		for _, name := range []bond.Option{bond.OptAdActorSysPrio, bond.OptAdUserPortKey, bond.OptAdActorSystem} {
			delete(reported, name)
		}
	}
	for _, name := range b.fake.omitted {
		delete(reported, name)
	}
	if b.primary != nil {
		reported[bond.OptPrimary] = b.primary.name
	}
	if b.usesPrimary() && b.active != nil {
		reported[bond.OptActiveSlave] = b.active.name
	}
	return reported
}
