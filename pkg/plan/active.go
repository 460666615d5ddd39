package plan

import "github.com/bondkeeper/bondkeeper/pkg/bond"

// planActive makes the desired member the active one in a bond that was created or repaired. Once the bond has settled,
// the active member is the kernel's choice (failover) and is left alone. A primary or priorities have precedence.
func (b *builder) planActive() {
	o := b.rec.Spec.Options
	switch {
	case b.rec.Settled || b.macUnknown:
	case o.MACFollowsActive():
		b.planActiveMAC()
	case o[bond.OptActiveSlave] != "" && o.Mode().UsesPrimary():
		b.planActiveSlave()
	}
}

// planActiveMAC restores the recorded MAC of a bond whose MAC follows its active member, by making the owner of that
// MAC the active member.
func (b *builder) planActiveMAC() {
	o, spec := b.obs.Bond, &b.rec.Spec
	if spec.MAC == "" || o.MAC == spec.MAC {
		return
	}
	owner := b.macOwner()
	if owner < 0 || b.otherPreferred(owner) {
		return
	}
	rec := &b.rec.Members[owner]
	if m := &b.obs.Members[owner]; b.enslaved(m) && m.Link.MAC != spec.MAC { // the bond would get that one
		b.reportWaiting(OnBond, MACAway, "the bond has MAC %s until %s has %s again", o.MAC, rec, spec.MAC)
		return
	}
	if !b.activate(owner, MACAway, "the bond has MAC %s, not %s; making %s the active member", o.MAC, spec.MAC, rec) {
		b.reportWaiting(OnBond, MACAway, "the bond has MAC %s until %s carries traffic again", o.MAC, rec)
	}
}

// planActiveSlave makes activeSlave the active member.
func (b *builder) planActiveSlave() {
	name := b.rec.Spec.Options[bond.OptActiveSlave]
	for i := range b.rec.Members {
		rec, m := &b.rec.Members[i], &b.obs.Members[i]
		if rec.Name != name || b.otherPreferred(i) || b.enslaved(m) && m.Link.Index == b.obs.Bond.Active {
			continue
		}
		if !b.activate(i, NotActive, "%s is to be the active member at first; making it so", rec) {
			b.reportWaiting(OnBond, NotActive, "activeSlave %s does not carry traffic yet", rec)
		}
	}
}

// activate makes a member the active one, if the kernel accepts that now.
func (b *builder) activate(i int, code Code, format string, args ...any) bool {
	m := &b.obs.Members[i]
	if !b.enslaved(m) || !m.MIIUp || b.obs.Bond.Active == 0 || b.obs.Bond.Active == m.Link.Index {
		return false
	}
	b.report(OnBond, code, format, args...)
	b.add(SetActive{MemberIndex: MemberIndex(i), Link: LinkRefOf(bond.InPod, &m.Link), Bond: b.bondRef()})
	return true
}

// otherPreferred reports whether the options make the kernel prefer another member than i, or not make a returning
// primary active.
func (b *builder) otherPreferred(i int) bool {
	o := b.rec.Spec.Options
	if p, set := o[bond.OptPrimary]; set {
		return p != b.rec.Members[i].Name || mustNotPreempt(o)
	}
	for j := range b.rec.Members {
		if b.rec.Members[j].Priority() > b.rec.Members[i].Priority() {
			return true
		}
	}
	return false
}
