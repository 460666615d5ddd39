package linktest

import (
	"slices"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

func failover(s *fixture) {
	s.bonded(activeBackup())
	s.activeIs(0)
	s.must(s.w.SetDown(s.path, "net1"), "set down by hand")
	s.activeIs(1)
	s.must(s.w.SetUp(s.path, "net1"), "set up by hand")
	s.until("both are counted as up", func(o bond.Observed) bool { return o.Members[0].MIIUp && o.Members[1].MIIUp })
	s.activeStays(1)
	s.must(s.w.SetDown(s.path, "net1"), "set down by hand")
	s.must(s.w.SetDown(s.path, "net2"), "set down by hand")
	s.until("no carrier, no active member", func(o bond.Observed) bool { return !o.Bond.Carrier && o.Bond.Active == 0 })
}

func failoverCable(s *fixture) {
	s.bonded(activeBackup())
	s.activeIs(0)
	s.must(s.w.SetCarrier(s.path, "net1", false), "pull the cable")
	s.activeIs(1)
	s.must(s.w.SetDown(s.path, "net2"), "set down by hand")
	s.until("no carrier, no active member", func(o bond.Observed) bool { return !o.Bond.Carrier && o.Bond.Active == 0 })
	s.must(s.w.SetCarrier(s.path, "net1", true), "plug the cable in")
	s.activeIs(0)
}

func setActive(s *fixture) {
	s.bonded(activeBackup())
	s.activeIs(0)
	s.apply(plan.SetActive{Link: s.link(1), Bond: s.bond()})
	s.activeStays(1)
	s.apply(plan.SetActive{Link: s.link(1), Bond: s.bond()})
	s.activeStays(1)
	s.must(s.w.SetDown(s.path, "net1"), "set down by hand")
	s.until("counted as down", func(o bond.Observed) bool { return !o.Members[0].MIIUp })
	s.rejected(plan.SetActive{Link: s.link(0), Bond: s.bond()}, bond.ErrBusy)
	s.apply(plan.Release{Link: s.link(0)})
	s.rejected(plan.SetActive{Link: s.link(0), Bond: s.bond()}, bond.ErrStale)
}

func primaryPreempts(s *fixture) {
	s.create(activeBackup(string(bond.OptPrimary), "net2", string(bond.OptPrimaryReselect), "failure"))
	s.apply(plan.SetUp{Link: s.bond()})
	s.join(0)
	s.activeIs(0)
	_, reported := s.see().Bond.Options[bond.OptPrimary]
	s.equal("the primary is reported while it is no member", reported, false)
	s.join(1)
	s.activeIs(1)
	s.equal("primary", s.see().Bond.Options[bond.OptPrimary], "net2")
	up := plan.Rename{Link: s.link(1), To: "other", Up: true, Interrupt: true}
	if !KernelRenamesUp(s.env.Release) { // the active member is never set down
		s.rejected(up, nil)
		s.equal("up", s.see().Members[1].Link.Up, true)
		return
	}
	// Under another name it is no longer the primary; under its own it is again, and with primary_reselect=failure
	// nothing else happens.
	s.apply(up)
	_, reported = s.see().Bond.Options[bond.OptPrimary]
	s.equal("the primary is reported while it is renamed", reported, false)
	s.activeStays(1)
	s.apply(plan.Rename{Link: s.link(1), To: "net2"})
	s.equal("primary", s.see().Bond.Options[bond.OptPrimary], "net2")
}

func primaryQuietly(s *fixture) {
	s.create(activeBackup(string(bond.OptPrimary), "net2", string(bond.OptPrimaryReselect), "failure"))
	s.primaryJoins(func() {})
}

// primarySetBefore is primaryQuietly for a bond whose primary was away when it was created.
func primarySetBefore(s *fixture) {
	s.create(activeBackup(string(bond.OptPrimaryReselect), "failure"))
	s.primaryJoins(func() {
		s.apply(plan.SetOptions{Bond: s.bond(), Options: bond.Options{bond.OptPrimary: "net2"}})
	})
}

// primaryJoins enslaves net2 under another name, after before was called.
func (s *fixture) primaryJoins(before func()) {
	s.apply(plan.SetUp{Link: s.bond()})
	s.join(0)
	s.activeIs(0)
	before()
	s.apply(plan.Rename{Link: s.link(1), To: "spare"})
	s.join(1)
	s.activeStays(0)
	s.apply(plan.Rename{Link: s.link(1), To: "net2", Up: true, Interrupt: true})
	s.equal("primary", s.see().Bond.Options[bond.OptPrimary], "net2")
	s.activeStays(0)
}

// thirdMember enslaves a third member while the second is the active one.
func (s *fixture) thirdMember(reselect string) {
	s.Helper()
	m, err := s.w.AddMember(s.path, "net3")
	s.must(err, "make a member")
	s.bonded(activeBackup(string(bond.OptPrimaryReselect), reselect))
	s.activeIs(0)
	s.apply(plan.SetActive{Link: s.link(1), Bond: s.bond()})
	s.activeIs(1)
	s.r.Members = append(s.r.Members, m)
	s.join(2)
}

// enslavingReselects: without a primary the kernel prefers the first member that is up.
func enslavingReselects(s *fixture) {
	s.thirdMember("always")
	s.activeStays(0)
}

func enslavingQuietly(s *fixture) {
	s.thirdMember("failure")
	s.activeStays(1)
	// Setting the option causes a new selection.
	s.apply(plan.SetOptions{Bond: s.bond(), Options: bond.Options{bond.OptPrimaryReselect: "always"}})
	s.activeStays(0)
}

func unmonitored(s *fixture) {
	o := activeBackup()
	delete(o, bond.OptMiimon)
	s.bonded(o)
	s.activeIs(0)
	s.must(s.w.SetDown(s.path, "net1"), "set down by hand")
	s.activeStays(0)
	m := s.see().Members[0]
	if !m.MIIUp || m.Link.Carrier {
		s.Errorf("member of a bond without monitor: %s", oneLine(m))
	}
}

func downUnmonitored(s *fixture) {
	s.bonded(activeBackup())
	s.activeIs(0)
	s.apply(plan.SetDown{Link: s.bond()})
	o := s.see()
	s.equal("carrier of a bond that is down", o.Bond.Carrier, false)
	s.equal("its members are up", []bool{o.Members[0].Link.Up, o.Members[1].Link.Up}, []bool{true, true})
	s.must(s.w.SetDown(s.path, "net1"), "set down by hand")
	s.activeStays(0)
	s.apply(plan.SetUp{Link: s.bond()})
	o = s.activeIs(1)
	s.equal("unknown members", len(slices.Clone(o.UnknownMembers)), 0)
}
