package plan

import (
	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// planBondSettings restores name, options, MAC and MTU of the bond itself.
func (b *builder) planBondSettings() {
	o, spec := b.obs.Bond, &b.rec.Spec
	b.planBondName()
	b.planOptions()
	if spec.Options.SharesMAC() && !b.macUnknown && spec.MAC != "" && o.MAC != spec.MAC {
		b.report(OnBond, SettingsChanged, "the bond has MAC %s, not %s", o.MAC, spec.MAC)
		b.add(SetMAC{MemberIndex: OnBond, Link: b.bondRef(), MAC: spec.MAC})
		b.announceLater()
	}
	if b.macFollowsActive() && !b.macUnknown && o.HasMembers && spec.MAC != "" && o.MAC != spec.MAC {
		// Another writer set a MAC on the empty bond: the kernel notes that an address was set, but sets none.
		b.report(OnBond, OptionDrift, "the bond has MAC %s, not %s; with failOverMac=follow the kernel cannot change it while the bond has members: delete the pod", o.MAC, spec.MAC)
	}
	if spec.MTU != 0 && o.MTU != spec.MTU {
		b.report(OnBond, MTUDiffers, "the bond has MTU %d, not %d", o.MTU, spec.MTU)
		b.add(SetMTU{MemberIndex: OnBond, Link: b.bondRef(), MTU: spec.MTU})
	}
	for i := range b.obs.UnknownMembers {
		s := &b.obs.UnknownMembers[i]
		b.report(OnBond, UnknownMember, "%s (ifindex %d) is enslaved to the bond but not in the record; it is left alone", s.Name, s.Index)
	}
}

// macFollowsActive reports whether the active member has the bond's MAC, whichever member it is.
func (b *builder) macFollowsActive() bool {
	return !b.rec.Spec.Options.SharesMAC() && !b.rec.Spec.Options.MACFollowsActive()
}

func (b *builder) planBondName() {
	o, name := b.obs.Bond, b.rec.BondName()
	if o.Name == name {
		return
	}
	if s := b.obs.NameHolder; s != nil {
		b.resolveNameConflict(OnBond, &o.Link, name, s)
		return
	}
	b.report(OnBond, Renamed, "the bond has the name %s, not %s", o.Name, name)
	b.rename(OnBond, &o.Link, name)
}

// planOptions restores the options that the kernel accepts now and reports the others. An option that
// the kernel does not report counts as unchanged.
func (b *builder) planOptions() {
	o := b.obs.Bond
	desired := b.rec.Spec.Options.Effective()
	for _, name := range desired.Names() {
		have, known := o.Options[name]
		want := desired[name]
		if have == want || !b.comparable(name, known) {
			continue
		}
		if def := bond.LookupOption(name); !b.takesNow(def.Changeable) {
			b.macUnknown = b.macUnknown || name == bond.OptMode || name == bond.OptFailOverMac
			b.report(OnBond, OptionDrift, "%s is %q, not %q; the kernel cannot change it on a bond that has members or is up: delete the bond, which is then recreated, or the pod", name, have, want)
			if name == bond.OptMode {
				return // other differences may follow from the mode
			}
			continue
		}
		b.report(OnBond, SettingsChanged, "%s is %q, not %q", name, have, want)
		b.add(SetOptions{MemberIndex: OnBond, Bond: b.bondRef(), Options: bond.Options{name: want}}) // one action each: they fail independently
	}
}

// comparable reports whether a different value is a drift. activeSlave applies only until the bond has first settled;
// then a failover may change the active member. The primary reads as empty while its member is not enslaved under its
// own name: the kernel stores the name.
func (b *builder) comparable(name bond.Option, known bool) bool {
	switch name {
	case bond.OptActiveSlave:
		return false
	case bond.OptPrimary:
		return b.enslavedAs(b.rec.Spec.Options[name])
	default:
		return known
	}
}

func (b *builder) enslavedAs(name string) bool {
	for i := range b.obs.Members {
		if m := &b.obs.Members[i]; m.Link.Name == name && b.enslaved(m) {
			return true
		}
	}
	return false
}

func (b *builder) takesNow(w bond.Changeable) bool {
	o := b.obs.Bond
	return (w&bond.BondDown == 0 || !o.Up) && (w&bond.NoMembers == 0 || !o.HasMembers)
}

// planBondUp precedes the members, which may have to wait for their cards. A new bond is set up after them: to enslave a
// link to a bond that is up takes longer, because the driver then also gets the bond's multicast addresses.
func (b *builder) planBondUp() {
	if b.obs.Bond.Up {
		return
	}
	b.report(OnBond, LinkDown, "the bond is administratively down")
	b.add(SetUp{MemberIndex: OnBond, Link: b.bondRef()})
}
