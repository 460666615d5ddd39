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

// planMemberOptions restores the options of a member in the bond.
func (b *builder) planMemberOptions(i int, m *bond.ObservedMember) {
	rec := &b.rec.Members[i]
	a := SetMemberOptions{MemberIndex: MemberIndex(i), Link: LinkRefOf(bond.InPod, &m.Link), Bond: b.bondRef()}
	if want := changedOption(b, i, "queueId", rec.QueueID, m.QueueID); want != nil {
		switch {
		case !b.queueTaken(i):
			a.QueueID = want
		case *m.QueueID != 0:
			a.QueueID = new(uint16) // the member that has ours may wait for this one
		}
	}
	a.Prio = changedOption(b, i, "prio", rec.Prio, m.Prio)
	a.ActorPortPrio = changedOption(b, i, "actorPortPrio", rec.ActorPortPrio, m.ActorPortPrio)
	if !a.IsEmpty() {
		b.add(a)
	}
}

// changedOption reports an option of a member that is not as requested, and returns what was requested; nil if it is.
// What this kernel does not report counts as unchanged.
func changedOption[T uint16 | int32](b *builder, i int, name string, want, have *T) *T {
	if want == nil || have == nil || *want == *have {
		return nil
	}
	b.report(i, SettingsChanged, "%s has %s %d, not %d", &b.rec.Members[i], name, *have, *want)
	return want
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
