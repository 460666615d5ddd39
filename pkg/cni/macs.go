package cni

import (
	"crypto/rand"
	"slices"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// assignMACs decides which MAC the bond has and which each member; asked is the one wanted for the
// bond, empty for none. What a member had before stays in Original and is given back on DEL (but see separateMACs).
//
// Where the bond has its active member's MAC it cannot be given one: the member that the
// kernel prefers gets it. Where members trade MACs on a failover, two alike cannot be: the
// kernel refuses the second in balance-tlb and -alb, and gives it one of its own choice with each
// enslaving with failOverMac=follow. All other modes have one MAC on all, or leave them alone.
func assignMACs(r *bond.Record, asked bond.MAC, found *bond.MemberResult) {
	first := preferred(r, found)
	if first < 0 {
		r.Spec.MAC = asked
		return
	}
	if r.Spec.MAC = asked; asked == "" {
		r.Spec.MAC = r.Members[first].MAC
	}
	switch {
	case r.Spec.Options.MACFollowsActive():
		if !ownedBy(r.Members, r.Spec.MAC) {
			r.Members[first].MAC = r.Spec.MAC
		}
	case r.Spec.Options.SwapsMACs():
		for i := range r.Members {
			if m := &r.Members[i]; m.MAC != "" && ownedBy(r.Members[:i], m.MAC) {
				m.MAC = freshMAC(r.Members)
			}
		}
	}
}

// separateMACs gives links that had the MAC of an earlier one another MAC to have after DEL: two links with one MAC are only
// right in a bond. A VF keeps what it had: its PF may allow no other, and the plugin that attached it resets it. So does a
// VLAN, which has the MAC of the link below it. It is called when ADD has succeeded, so that a failed one leaves every
// MAC as it was.
func separateMACs(r *bond.Record) {
	for i := range r.Members {
		m := &r.Members[i]
		same := func(other bond.Member) bool { return other.Original.MAC == m.Original.MAC }
		if m.VF != nil || m.Kind == "vlan" || m.Original.MAC == "" || !slices.ContainsFunc(r.Members[:i], same) {
			continue
		}
		if m.MAC != "" && m.MAC != m.Original.MAC && m.MAC != r.Spec.MAC {
			m.Original.MAC = m.MAC // it was given one of its own
		} else {
			m.Original.MAC = freshMAC(r.Members)
		}
	}
}

// preferred is the member that the kernel makes the active one when all are alike: the primary, or
// of the highest priority the one that is to be active at first, or just the first. -1 when none is there.
func preferred(r *bond.Record, found *bond.MemberResult) int {
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

func ownedBy(members []bond.Member, mac bond.MAC) bool {
	return slices.ContainsFunc(members, func(m bond.Member) bool { return m.MAC == mac })
}

// freshMAC is a random one, unicast and locally administered, that no member has.
func freshMAC(members []bond.Member) bond.MAC {
	for {
		var hw [6]byte
		_, _ = rand.Read(hw[:]) // it never fails
		hw[0] = hw[0]&^1 | 2
		if mac := bond.MACOf(hw[:]); !ownedBy(members, mac) {
			return mac
		}
	}
}
