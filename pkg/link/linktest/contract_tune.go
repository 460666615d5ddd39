package linktest

import (
	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

var tuneCases = []contractCase{
	{"a member's queue ID is set, and given to one only", bonding_, tuneQueue},
	{"a member's priority is set in modes with an active member", bonding_, tunePrio},
	{"a member's priority decides which one is active", bonding_, tunePrioDecides},
	{"a member's settings are lost with its membership", bonding_, tuneLost},
}

// tuned compares the reported settings of member i.
func (s *fixture) tuned(i int, queueID uint16, prio int32) {
	s.Helper()
	m := s.see().Members[i]
	if m.QueueID == nil || m.Prio == nil || *m.QueueID != queueID || *m.Prio != prio {
		s.Errorf("%s: %s; want queue %d and prio %d", s.r.Members[i].Name, oneLine(m), queueID, prio)
	}
}

func (s *fixture) tune(i int, queueID *uint16, prio *int32) plan.TuneMember {
	s.Helper()
	return plan.TuneMember{Link: s.link(i), Bond: s.bond(), QueueID: queueID, Prio: prio}
}

func tuneQueue(s *fixture) {
	if m := s.see().Members[0]; m.QueueID != nil || m.Prio != nil {
		s.Errorf("a link in no bond: %s", oneLine(m))
	}
	s.bonded(bond.Options{bond.OptMode: "balance-xor", bond.OptMiimon: "50"})
	s.tuned(0, 0, 0)
	s.apply(s.tune(0, new(uint16(3)), nil))
	s.tuned(0, 3, 0)
	s.tuned(1, 0, 0)
	s.rejected(s.tune(1, new(uint16(3)), nil), nil)
	s.rejected(s.tune(1, new(uint16(17)), nil), nil)
	s.apply(s.tune(1, new(uint16(16)), nil))
	s.apply(s.tune(0, new(uint16(0)), nil))
	s.tuned(0, 0, 0)
	s.tuned(1, 16, 0)
	ref := s.bond()
	s.apply(plan.Release{Link: s.link(1)})
	s.rejected(plan.TuneMember{Link: s.link(1), Bond: ref, QueueID: new(uint16(1))}, bond.ErrStale)
}

func tunePrio(s *fixture) {
	for mode := bond.ModeRoundRobin; mode <= bond.ModeALB; mode++ {
		s.try(bond.Options{bond.OptMode: mode.String(), bond.OptMiimon: "50"}, func() {
			s.apply(plan.Enslave{Link: s.link(0), Bond: s.bond()})
			a := s.tune(0, nil, new(int32(-1<<31)))
			if !mode.UsesPrimary() {
				s.rejected(a, nil)
				return
			}
			s.apply(a)
			s.tuned(0, 0, -1<<31)
			s.apply(s.tune(0, nil, new(int32(1<<31-1))))
			s.tuned(0, 0, 1<<31-1)
		})
	}
}

func tunePrioDecides(s *fixture) {
	s.bonded(activeBackup())
	s.activeIs(0)
	s.until("both are counted as up", func(o bond.Observed) bool { return o.Members[0].MIIUp && o.Members[1].MIIUp })
	s.apply(s.tune(1, nil, new(int32(10))))
	s.activeIs(1)
	s.apply(s.tune(0, nil, new(int32(20))))
	s.activeIs(0)
	s.must(s.w.SetDown(s.path, "net1"), "set down by hand")
	s.activeIs(1)
	s.must(s.w.SetUp(s.path, "net1"), "set up by hand")
	s.activeIs(0) // the higher priority becomes active again, as a primary does
}

func tuneLost(s *fixture) {
	s.bonded(activeBackup())
	s.apply(s.tune(1, new(uint16(2)), new(int32(10))))
	s.tuned(1, 2, 10)
	s.apply(plan.Release{Link: s.link(1)})
	s.apply(plan.Enslave{Link: s.link(1), Bond: s.bond()})
	s.tuned(1, 0, 0)
}
