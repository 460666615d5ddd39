package cni

import (
	"crypto/rand"
	"slices"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// assignMACs sets the MACs of the bond and its members; requested is the bond's, empty if not requested. A member's
// previous MAC stays in Original and is restored on DEL (but see separateMACs).
//
// If the bond has its active member's MAC, it cannot be set: the member that the kernel prefers gets it. If members
// swap MACs on a failover, no two can have the same. The kernel rejects the second in balance-tlb and -alb. With
// failOverMac=follow it assigns a random one at each enslaving. All other modes have one MAC on all members, or change
// none.
func assignMACs(r *bond.Record, requested bond.MAC, found *bond.MemberResult) {
	first := preferredMember(r, found)
	if first < 0 {
		r.Spec.MAC = requested
		return
	}
	if r.Spec.MAC = requested; requested == "" {
		r.Spec.MAC = r.Members[first].MAC
	}
	switch {
	case r.Spec.Options.MACFollowsActive():
		if !hasMAC(r.Members, r.Spec.MAC) {
			r.Members[first].MAC = r.Spec.MAC
		}
	case r.Spec.Options.SwapsMACs():
		for i := range r.Members {
			if m := &r.Members[i]; m.MAC != "" && hasMAC(r.Members[:i], m.MAC) {
				m.MAC = randomMAC(r.Members)
			}
		}
	}
}

// separateMACs changes the original MAC of links that had the MAC of an earlier one: outside a bond no two links may
// have the same. A device keeps its own: a VF's PF may allow no other, and the plugin that attached it resets it. So does
// a VLAN, which has the MAC of the link below it. It is called once ADD has succeeded, so that a failed ADD changes no
// MAC.
func separateMACs(r *bond.Record) {
	for i := range r.Members {
		m := &r.Members[i]
		same := func(other bond.Member) bool { return other.Original.MAC == m.Original.MAC }
		if m.PCI != "" || m.Kind == "vlan" || m.Original.MAC == "" || !slices.ContainsFunc(r.Members[:i], same) {
			continue
		}
		if m.MAC != "" && m.MAC != m.Original.MAC && m.MAC != r.Spec.MAC {
			m.Original.MAC = m.MAC // assignMACs chose one for it
		} else {
			m.Original.MAC = randomMAC(r.Members)
		}
	}
}

// preferredMember returns the member that the kernel makes the active one if all are equal: the primary, or among those
// of the highest priority activeSlave, or the first one. It returns -1 if all are missing.
func preferredMember(r *bond.Record, found *bond.MemberResult) int {
	best, o := -1, r.Spec.Options
	for i := range r.Members {
		m := &r.Members[i]
		switch {
		case m.MAC == "" || found.Links[i].Missing != nil:
		case m.Name == o[bond.OptPrimary]:
			return i
		case best < 0 || m.Priority() > r.Members[best].Priority(),
			m.Priority() == r.Members[best].Priority() && m.Name == o[bond.OptActiveSlave]:
			best = i
		}
	}
	return best
}

func hasMAC(members []bond.Member, mac bond.MAC) bool {
	return slices.ContainsFunc(members, func(m bond.Member) bool { return m.MAC == mac })
}

// randomMAC returns a random MAC, unicast and locally administered, that no member has.
func randomMAC(members []bond.Member) bond.MAC {
	for {
		var hw [6]byte
		_, _ = rand.Read(hw[:]) // it never fails
		hw[0] = hw[0]&^1 | 2
		if mac := bond.MACOf(hw[:]); !hasMAC(members, mac) {
			return mac
		}
	}
}
