package plan

import (
	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// planBondSettings brings name, options, MAC and MTU of the bond itself in line.
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
		// Somebody set a MAC on the empty bond: the kernel took note of that and of no address.
		b.report(OnBond, OptionDrift, "the bond has MAC %s, not %s, and with failOverMac=follow the kernel cannot change it while there are members: delete the pod", o.MAC, spec.MAC)
	}
	if spec.MTU != 0 && o.MTU != spec.MTU {
		b.report(OnBond, MTUDiffers, "the bond has MTU %d, not %d", o.MTU, spec.MTU)
		b.add(SetMTU{MemberIndex: OnBond, Link: b.bondRef(), MTU: spec.MTU})
	}
	for i := range b.obs.UnknownMembers {
		s := &b.obs.UnknownMembers[i]
		b.report(OnBond, Stranger, "%s (ifindex %d) is enslaved to the bond and not on record; it is left alone", s.Name, s.Index)
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
		b.resolveNameConflict(OnBond, o.Link, name, s)
		return
	}
	b.report(OnBond, Renamed, "the bond is called %s, not %s", o.Name, name)
	b.add(Rename{MemberIndex: OnBond, Link: b.bondRef(), To: name})
}

// planOptions puts back what the kernel takes now and reports the rest. An option that
// the kernel does not tell is no drift.
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
			b.report(OnBond, OptionDrift, "%s is %q, not %q; the kernel cannot change it on a bond with members or that is up: delete the bond, which is then made anew, or the pod", name, have, want)
			if name == bond.OptMode {
				return // what else differs may only follow from the mode
			}
			continue
		}
		b.report(OnBond, SettingsChanged, "%s is %q, not %q", name, have, want)
		b.add(SetOptions{MemberIndex: OnBond, Bond: b.bondRef(), Options: bond.Options{name: want}}) // one each: they fail one by one
	}
}

// comparable reports whether a differing value means anything. The active member is only
// wished for at first; failover changes it rightly. The primary reads as empty while
// its member is not enslaved under its own name: the kernel keeps the name.
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

// planBondUp comes before the members, which may have to wait for their cards.
func (b *builder) planBondUp() {
	if b.obs.Bond.Up {
		return
	}
	b.report(OnBond, LinkDown, "the bond is administratively down")
	b.add(SetUp{MemberIndex: OnBond, Link: b.bondRef()})
}
