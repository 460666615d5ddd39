package linktest

import (
	"errors"
	"fmt"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// setSettings does what RTM_SETLINK and a write to each sysctl's file do.
func (d *netdev) setSettings(c bond.SettingsChange) error {
	var errs []error
	if c.TxQLen != nil {
		d.settings.TxQLen = *c.TxQLen
	}
	if c.Flags != nil {
		d.settings.Flags = *c.Flags
	}
	for _, s := range c.Sysctls {
		errs = append(errs, d.settings.SetSysctl(s))
	}
	return errors.Join(errs...)
}

// SetSettings changes settings as tuning, sysctl(8) and ip(8) do.
func (f *Fake) SetSettings(path, name string, c bond.SettingsChange) error {
	return f.onNamedLink(path, name, func(d *netdev) error { return d.setSettings(c) })
}

// AddVRF makes a VRF, up, with its own routing table.
func (f *Fake) AddVRF(path, name string, table int) error {
	_, err := f.addVirtual(path, name, "vrf")
	if err != nil {
		return err
	}
	err = f.onNamedLink(path, name, func(d *netdev) error { d.table = table; return nil })
	if err != nil {
		return err
	}
	return f.SetUp(path, name)
}

// SetUpper enslaves a bond to another link; "" releases it.
func (f *Fake) SetUpper(path, name, upper string) error {
	return f.onNamedLink(path, name, func(d *netdev) error {
		if upper == "" {
			d.setUpper(nil)
			return nil
		}
		u := d.space.byName(upper)
		if u == nil {
			return fmt.Errorf("link %s: %w", upper, bond.ErrGone)
		}
		d.setUpper(u)
		return nil
	})
}

// setUpper sets a link that is up down and up again if its old or new master is a VRF (cycle_netdev in
// drivers/net/vrf.c). nil is no master.
func (d *netdev) setUpper(u *netdev) {
	old := d.upper
	d.upper = u
	if d.up && (old != nil && old.kind == "vrf" || u != nil && u.kind == "vrf") {
		d.setDown()
		d.setUp()
	}
}

func (f *Fake) enslaveBond(pod *space, a plan.SetUpper) error {
	return f.onBond(pod, a.Bond, func(d *netdev) error {
		u := pod.links[a.Upper.Index]
		switch {
		case u == nil:
			return fmt.Errorf("ifindex %d: %w", a.Upper.Index, bond.ErrGone)
		case u.name != a.Upper.Name || u.kind != a.Upper.Kind || d.upper != nil:
			return fmt.Errorf("%s is %s, %s has another master: %w", u.name, u.kind, d.name, bond.ErrStale)
		}
		d.setUpper(u)
		return nil
	})
}

// observeUpper is the current state of the record's learned master.
func observeUpper(pod *space, b *netdev, r *bond.Record, o *bond.Observed) {
	if u := b.upper; u != nil {
		o.Bond.Upper = &bond.Upper{Index: u.index, Name: u.name, Kind: u.kind, Table: u.table}
	}
	if r.Learned == nil || r.Learned.Upper == nil {
		return
	}
	if u := pod.byName(r.Learned.Upper.Name); u != nil && u.kind == r.Learned.Upper.Kind {
		o.Upper = new(u.describe())
	}
}
