package plan

import (
	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// planTeardown removes the bond and returns its members. It releases them, deletes the bond, and then restores each
// member's original settings. It does so once: while only the addresses remain allocated, the members may have other
// users.
func (b *builder) planTeardown() {
	if b.rec.Returned {
		return
	}
	if b.obs.Bond != nil {
		for i := range b.obs.Members {
			if m := &b.obs.Members[i]; b.enslaved(m) {
				b.add(Release{MemberIndex: MemberIndex(i), Link: LinkRefOf(bond.InPod, &m.Link)})
			}
		}
		b.add(DeleteBond{MemberIndex: OnBond, Bond: b.bondRef()})
		return // the kernel restores MAC and MTU on release: observe again first
	}
	for i := range b.obs.Members {
		b.planReturn(i, &b.obs.Members[i])
	}
}

func (b *builder) planReturn(i int, m *bond.ObservedMember) {
	before := &b.rec.Members[i].Original
	switch {
	case !b.proven(i, m):
		b.report(i, NotProven, "%s came from the host, but no link in the pod or host is proven to be it; none is moved to the host", &b.rec.Members[i])
	case m.Location == bond.InPod:
		b.planRestore(i, m, bond.InPod)
		if before.FromHost {
			b.add(MoveToHost{MemberIndex: MemberIndex(i), Link: LinkRefOf(bond.InPod, &m.Link), Name: before.Name, Index: b.rec.Members[i].HostIndex})
		}
	case m.Location == bond.InHost && before.FromHost:
		b.planRestore(i, m, bond.InHost)
	case m.Location == bond.InHost && b.obs.SandboxAlive && b.mayTake(i, m):
		// The plugin that attached it searches for it in the pod, under this name, on its own DEL.
		b.planReturnToPod(i, m)
	}
}

// proven is false for a virtual link from the host that was not found, or whose serial was not read.
func (b *builder) proven(i int, m *bond.ObservedMember) bool {
	rec := &b.rec.Members[i]
	return rec.PCI != "" || !rec.Original.FromHost || m.Location != bond.Lost && m.Link.Serial != 0 && m.Link.Serial == rec.Serial
}

func (b *builder) planReturnToPod(i int, m *bond.ObservedMember) {
	rec := &b.rec.Members[i]
	if t := m.NameHolder; t != nil {
		b.report(i, NameTaken, "%s cannot be returned to the pod: another link there has the name %s (ifindex %d)", rec, t.Name, t.Index)
		return
	}
	b.add(MoveToPod{MemberIndex: MemberIndex(i), Link: LinkRefOf(bond.InHost, &m.Link), Name: rec.Original.Name, MAC: rec.Original.MAC, MTU: rec.Original.MTU, Alias: rec.Original.Alias})
}

// planRestore restores MAC, MTU, administrative state and name in the link's netns.
func (b *builder) planRestore(i int, m *bond.ObservedMember, place bond.Location) {
	before, ref := &b.rec.Members[i].Original, LinkRefOf(place, &m.Link)
	if place == bond.InHost && (b.foreign(m) || !m.Ownership.MayChange()) {
		return
	}
	if before.MAC != "" && m.Link.MAC != before.MAC {
		b.add(SetMAC{MemberIndex: MemberIndex(i), Link: ref, MAC: before.MAC})
	}
	if before.MTU != 0 && m.Link.MTU != before.MTU {
		b.add(SetMTU{MemberIndex: MemberIndex(i), Link: ref, MTU: before.MTU})
	}
	link, setUp := m.Link, false
	if place == bond.InPod && !before.FromHost && before.Up != m.Link.Up {
		setUp = before.Up
		if !setUp {
			b.add(SetDown{MemberIndex: MemberIndex(i), Link: ref})
			link.Up = false
		}
	}
	b.planOriginalName(i, &link, place)
	if setUp {
		b.add(SetUp{MemberIndex: MemberIndex(i), Link: ref})
	}
}

// planOriginalName restores a link's name, except where the move to the host does so.
func (b *builder) planOriginalName(i int, l *bond.Link, place bond.Location) {
	m, before := &b.obs.Members[i], &b.rec.Members[i].Original
	rename := Rename{MemberIndex: MemberIndex(i), Link: LinkRefOf(place, l), To: before.Name, Up: l.Up, Interrupt: l.Up}
	switch {
	case l.Name == before.Name || place == bond.InPod && before.FromHost:
	case place == bond.InHost || m.NameHolder == nil:
		b.add(rename)
	case b.isMisnamed(m.NameHolder.Index):
		// Its plugin searches for a VF by name on its own DEL, and would return the other one.
		if rename.To = bond.TempName(l.PCI, l.Name); l.Name != rename.To {
			b.add(rename)
		}
	}
}

// foreign reports whether the link has another user by now, so that it must not be changed.
func (b *builder) foreign(m *bond.ObservedMember) bool {
	return m.ForeignClaim != "" || m.OtherRecord != "" || m.Link.Master != 0
}
