package linktest

import (
	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

var memberOptionCases = []contractCase{
	{"a member's queue ID is set, and given to one only", bonding_, memberQueueID},
	{"a member's priority is set in modes with an active member", bonding_, memberPriority},
	{"a member's priority decides which one is active", bonding_, memberPriorityDecides},
	{"a port's LACP priority is set in mode 802.3ad", bonding_, portPriority},
	{"a member's options are lost with its membership", bonding_, memberOptionsLost},
}

// hasMemberOptions compares the reported options of member i.
func (s *fixture) hasMemberOptions(i int, queueID uint16, prio int32) {
	s.Helper()
	m := s.see().Members[i]
	if m.QueueID == nil || m.Prio == nil || *m.QueueID != queueID || *m.Prio != prio {
		s.Errorf("%s: %s; want queue %d and prio %d", s.r.Members[i].Name, oneLine(m), queueID, prio)
	}
}

func (s *fixture) setMemberOptions(i int, queueID *uint16, prio *int32) plan.SetMemberOptions {
	s.Helper()
	return plan.SetMemberOptions{Link: s.link(i), Bond: s.bond(), MemberOptions: bond.MemberOptions{QueueID: queueID, Prio: prio}}
}

func memberQueueID(s *fixture) {
	if m := s.see().Members[0]; m.QueueID != nil || m.Prio != nil {
		s.Errorf("a link in no bond: %s", oneLine(m))
	}
	s.bonded(bond.Options{bond.OptMode: "balance-xor", bond.OptMiimon: "50"})
	s.hasMemberOptions(0, 0, 0)
	s.apply(s.setMemberOptions(0, new(uint16(3)), nil))
	s.hasMemberOptions(0, 3, 0)
	s.hasMemberOptions(1, 0, 0)
	s.rejected(s.setMemberOptions(1, new(uint16(3)), nil), nil)
	s.rejected(s.setMemberOptions(1, new(uint16(17)), nil), nil)
	s.apply(s.setMemberOptions(1, new(uint16(16)), nil))
	s.apply(s.setMemberOptions(0, new(uint16(0)), nil))
	s.hasMemberOptions(0, 0, 0)
	s.hasMemberOptions(1, 16, 0)
	ref := s.bond()
	s.apply(plan.Release{Link: s.link(1)})
	s.rejected(plan.SetMemberOptions{Link: s.link(1), Bond: ref, MemberOptions: bond.MemberOptions{QueueID: new(uint16(1))}}, bond.ErrStale)
}

func memberPriority(s *fixture) {
	for mode := bond.ModeRoundRobin; mode <= bond.ModeALB; mode++ {
		s.try(bond.Options{bond.OptMode: mode.String(), bond.OptMiimon: "50"}, func() {
			s.apply(plan.Enslave{Link: s.link(0), Bond: s.bond()})
			a := s.setMemberOptions(0, nil, new(int32(-1<<31)))
			if !mode.UsesPrimary() {
				s.rejected(a, nil)
				return
			}
			s.apply(a)
			s.hasMemberOptions(0, 0, -1<<31)
			s.apply(s.setMemberOptions(0, nil, new(int32(1<<31-1))))
			s.hasMemberOptions(0, 0, 1<<31-1)
		})
	}
}

func memberPriorityDecides(s *fixture) {
	s.bonded(activeBackup())
	s.activeIs(0)
	s.until("both are counted as up", func(o bond.Observed) bool { return o.Members[0].MIIUp && o.Members[1].MIIUp })
	s.apply(s.setMemberOptions(1, nil, new(int32(10))))
	s.activeIs(1)
	s.apply(s.setMemberOptions(0, nil, new(int32(20))))
	s.activeIs(0)
	s.must(s.w.SetDown(s.path, "net1"), "set down by hand")
	s.activeIs(1)
	s.must(s.w.SetUp(s.path, "net1"), "set up by hand")
	s.activeIs(0) // the higher priority becomes active again, as a primary does
}

func (s *fixture) setPortPrio(prio uint16) plan.SetMemberOptions {
	s.Helper()
	return plan.SetMemberOptions{Link: s.link(0), Bond: s.bond(), MemberOptions: bond.MemberOptions{ActorPortPrio: new(prio)}}
}

func (s *fixture) hasPortPrio(want uint16) {
	s.Helper()
	if m := s.see().Members[0]; m.ActorPortPrio == nil || *m.ActorPortPrio != want {
		s.Errorf("%s: %s; want actorPortPrio %d", s.r.Members[0].Name, oneLine(m), want)
	}
}

func portPriority(s *fixture) {
	o := s.bonded(lacp("0"))
	if o.Members[0].ActorPortPrio == nil && !s.since("6.18") {
		s.rejected(s.setPortPrio(7), bond.ErrUnsupported)
		return
	}
	s.hasPortPrio(bond.DefaultActorPortPrio)
	for _, prio := range []uint16{0, 1<<16 - 1, 7} {
		s.apply(s.setPortPrio(prio))
		s.hasPortPrio(prio)
	}
	s.apply(plan.Release{Link: s.link(0)})
	s.apply(plan.Enslave{Link: s.link(0), Bond: s.bond()})
	s.hasPortPrio(bond.DefaultActorPortPrio)
	s.apply(plan.DeleteBond{Bond: s.bond()})
	s.bonded(activeBackup())
	s.rejected(s.setPortPrio(7), nil)
	if m := s.see().Members[0]; m.ActorPortPrio != nil {
		s.Errorf("in mode active-backup: %s", oneLine(m))
	}
}

func memberOptionsLost(s *fixture) {
	s.bonded(activeBackup())
	s.apply(s.setMemberOptions(1, new(uint16(2)), new(int32(10))))
	s.hasMemberOptions(1, 2, 10)
	s.apply(plan.Release{Link: s.link(1)})
	s.apply(plan.Enslave{Link: s.link(1), Bond: s.bond()})
	s.hasMemberOptions(1, 0, 0)
}
