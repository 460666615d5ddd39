package plan

import "github.com/bondkeeper/bondkeeper/pkg/bond"

// planNewMemberOptions sets the options of a member that was just enslaved and has the kernel's defaults.
func (b *builder) planNewMemberOptions(i int, ref LinkRef) {
	rec := &b.rec.Members[i]
	a := SetMemberOptions{MemberIndex: MemberIndex(i), Link: ref, Bond: b.bondRef()}
	if q := rec.QueueID; q != nil && *q != 0 && !b.queueTaken(i) {
		a.QueueID = q
	}
	if p := rec.Prio; p != nil && *p != 0 {
		a.Prio = p
	}
	if p := rec.ActorPortPrio; p != nil && *p != bond.DefaultActorPortPrio {
		a.ActorPortPrio = p
	}
	if !a.IsEmpty() {
		b.add(a)
	}
}

// planMemberOptions restores the options of a member in the bond. What this kernel does not report counts as unchanged.
func (b *builder) planMemberOptions(i int, m *bond.ObservedMember) {
	rec := &b.rec.Members[i]
	a := SetMemberOptions{MemberIndex: MemberIndex(i), Link: LinkRefOf(bond.InPod, &m.Link), Bond: b.bondRef()}
	if want, have := rec.QueueID, m.QueueID; want != nil && have != nil && *want != *have {
		b.report(i, SettingsChanged, "%s has queueId %d, not %d", rec, *have, *want)
		switch {
		case !b.queueTaken(i):
			a.QueueID = want
		case *have != 0:
			a.QueueID = new(uint16) // the member that has ours may wait for this one
		}
	}
	if want, have := rec.Prio, m.Prio; want != nil && have != nil && *want != *have {
		b.report(i, SettingsChanged, "%s has prio %d, not %d", rec, *have, *want)
		a.Prio = want
	}
	if want, have := rec.ActorPortPrio, m.ActorPortPrio; want != nil && have != nil && *want != *have {
		b.report(i, SettingsChanged, "%s has actorPortPrio %d, not %d", rec, *have, *want)
		a.ActorPortPrio = want
	}
	if !a.IsEmpty() {
		b.add(a)
	}
}

// queueTaken reports whether another member has the queue ID of member i; the kernel assigns none twice.
func (b *builder) queueTaken(i int) bool {
	want := *b.rec.Members[i].QueueID
	for j := range b.obs.Members {
		o := &b.obs.Members[j]
		if j != i && want != 0 && b.enslaved(o) && o.QueueID != nil && *o.QueueID == want {
			return true
		}
	}
	return false
}
