package plan

import (
	"slices"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// enslaveMAC returns the MAC with which member i is enslaved. With fail_over_mac=follow the bond takes its MAC from the
// first member and cannot be given one (bond_set_mac_address ignores it), so the first to return has the recorded one.
// If members swap MACs, the active member may have that of a member that was lost. The latter then gets a free one: the
// kernel would assign a random one.
func (b *builder) enslaveMAC(i int) bond.MAC {
	mac := b.rec.Members[i].MAC
	if mac == "" || !b.macFollowsActive() {
		return mac
	}
	spec, o := &b.rec.Spec, b.obs.Bond
	taken := b.takenMACs()
	if !o.HasMembers && len(taken) == 0 && o.MAC != spec.MAC && spec.MAC != "" {
		mac = spec.MAC
	}
	mac = b.freeMAC(mac, taken)
	b.assignedMACs[mac] = true
	return mac
}

// freeMAC returns mac, or if it is taken a member's recorded one that is free; mac if all are taken.
func (b *builder) freeMAC(mac bond.MAC, taken map[bond.MAC]bool) bond.MAC {
	for j := 0; taken[mac] && j < len(b.rec.Members); j++ {
		if free := b.rec.Members[j].MAC; free != "" && !taken[free] {
			return free
		}
	}
	return mac
}

// takenMACs returns the MACs of the members in the bond, and those that this plan assigns.
func (b *builder) takenMACs() map[bond.MAC]bool {
	taken := map[bond.MAC]bool{}
	for mac := range b.assignedMACs {
		taken[mac] = true
	}
	for j := range b.obs.Members {
		if m := &b.obs.Members[j]; b.enslaved(m) {
			taken[m.Link.MAC] = true
		}
	}
	return taken
}

// planSharedMAC restores the MAC of a member in the modes in which all members have the bond's: the card of one with
// another MAC drops what is sent to the bond. If the bond itself has another MAC, setting that sets the members' too.
func (b *builder) planSharedMAC(i int, m *bond.ObservedMember) {
	spec := &b.rec.Spec
	if !spec.Options.SharesMAC() || spec.Options.SwapsMACs() || b.macUnknown || spec.MAC == "" || b.obs.Bond.MAC != spec.MAC || m.Link.MAC == spec.MAC {
		return
	}
	b.report(i, MACDiffers, "%s has MAC %s, not the bond's %s", &b.rec.Members[i], m.Link.MAC, spec.MAC)
	b.add(SetMAC{MemberIndex: MemberIndex(i), Link: LinkRefOf(bond.InPod, &m.Link), MAC: spec.MAC})
}

// separateMACs assigns an inactive member another MAC if one before it in the bond has the same, or if no member has it
// recorded. If members swap MACs, no two may have the same, because the next swap would lose the other for ever. Two
// have the same after the driver of one reset its card: in balance-tlb the kernel swaps MACs without informing the
// cards (alb_set_slave_mac_addr). One that is not recorded is that of a member which another process enslaved before it
// got its own, or whose card was reset. The active member comes first, because its MAC is the bond's, and the bond's
// MAC is not assigned to another.
func (b *builder) separateMACs(i int, m *bond.ObservedMember) {
	rec, other := &b.rec.Members[i], b.sameMAC(i)
	if other < 0 && (m.Link.Index == b.obs.Bond.Active || b.recordedMAC(m.Link.MAC)) {
		return
	}
	if other >= 0 {
		b.report(i, MACDiffers, "%s has the same MAC %s as %s", rec, m.Link.MAC, &b.rec.Members[other])
	}
	taken := b.takenMACs()
	taken[b.obs.Bond.MAC], taken[b.rec.Spec.MAC], taken[""] = true, true, true
	for j := range b.obs.UnknownMembers {
		taken[b.obs.UnknownMembers[j].MAC] = true
	}
	mac := b.freeMAC(rec.MAC, taken)
	if taken[mac] {
		return
	}
	if other < 0 {
		b.report(i, MACDiffers, "%s has MAC %s, which is not recorded for any member", rec, m.Link.MAC)
	}
	b.assignedMACs[mac] = true
	b.add(SetMAC{MemberIndex: MemberIndex(i), Link: LinkRefOf(bond.InPod, &m.Link), MAC: mac, Inactive: true})
}

// recordedMAC reports whether a MAC is a member's recorded one, or may be that of a member whose MAC is not recorded.
func (b *builder) recordedMAC(mac bond.MAC) bool {
	return slices.ContainsFunc(b.rec.Members, func(m bond.Member) bool { return m.MAC == mac || m.MAC == "" })
}

// sameMAC returns a member in the bond that has the MAC of member i and comes before it: the active one or one of a
// lower index; -1 if there is none.
func (b *builder) sameMAC(i int) int {
	active := b.obs.Bond.Active
	if b.obs.Members[i].Link.Index == active {
		return -1
	}
	for j := range b.obs.Members {
		m := &b.obs.Members[j]
		if b.enslaved(m) && m.Link.MAC == b.obs.Members[i].Link.MAC && (j < i || m.Link.Index == active) {
			return j
		}
	}
	return -1
}
