package linktest

import (
	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

var macCases = []contractCase{
	{"fail_over_mac=none puts one MAC on all", bonding_, macNone},
	{"fail_over_mac=active follows the active member", bonding_, macActive},
	{"fail_over_mac=follow hands the MAC on", bonding_, macFollow},
	{"fail_over_mac=active: the bond's MAC cannot be set", bonding_, macActiveSet},
	{"fail_over_mac=follow: the bond's MAC cannot be set", bonding_, macFollowSet},
	{"fail_over_mac=active: a member's MAC is not the bond's at once", bonding_, macOfActiveMember},
	{"a bond whose last member leaves has a random MAC", bonding_, macRandom},
	{"a bond that was given a MAC keeps it when members come", bonding_, macRestored},
	{"balance-tlb and balance-alb leave members their MACs", bonding_, macBalanced},
	{"balance-tlb: a VF has the MAC of its card after a reset", bonding_ | vfs_ | cardMAC_, macReset},
	{"balance-tlb and balance-alb reject a MAC that another member has", bonding_, macTwice},
	{"fail_over_mac=active takes two members with one MAC, follow gives the second another", bonding_, macTwiceBackup},
	{"balance-rr, balance-xor, broadcast and 802.3ad put one MAC on all", bonding_, macOthers},
}

// macs checks the MACs of bond and members.
func (s *fixture) macs(when string, o bond.Observed, wantBond bond.MAC, wantMembers ...bond.MAC) {
	s.Helper()
	s.equal("MAC of the bond "+when, o.Bond.MAC, wantBond)
	for i, want := range wantMembers {
		s.equal("MAC of "+s.r.Members[i].Name+" "+when, o.Members[i].Link.MAC, want)
	}
}

func (s *fixture) own() (first, second bond.MAC) { return s.r.Members[0].MAC, s.r.Members[1].MAC }

func macNone(s *fixture) {
	first, second := s.own()
	o := s.bonded(activeBackup(string(bond.OptFailOverMac), "none"))
	s.macs("made of two members", o, first, first, first)
	s.apply(plan.SetMAC{Link: s.bond(), MAC: otherMAC(1)})
	s.macs("after it was set", s.see(), otherMAC(1), otherMAC(1), otherMAC(1))
	// A member with another MAC keeps it if the bond's current MAC is set on the bond again.
	s.apply(plan.SetMAC{Link: s.link(0), MAC: otherMAC(2)})
	s.apply(plan.SetMAC{Link: s.bond(), MAC: otherMAC(1)})
	again := otherMAC(2)
	if kernelSetsSameMAC(s.env.Release) {
		again = otherMAC(1)
	}
	s.macs("after the same was set again", s.see(), otherMAC(1), again, otherMAC(1))
	s.apply(plan.SetMAC{Link: s.link(0), MAC: otherMAC(1)})
	s.must(s.w.SetDown(s.path, "net1"), "set down by hand")
	s.macs("after a failover", s.activeIs(1), otherMAC(1), otherMAC(1), otherMAC(1))
	s.apply(plan.Release{Link: s.link(1)})
	s.macs("after a release", s.see(), otherMAC(1), otherMAC(1), second)
}

func macActive(s *fixture) {
	first, second := s.own()
	s.bonded(activeBackup())
	s.macs("with the first active", s.activeIs(0), first, first, second)
	s.must(s.w.SetDown(s.path, "net1"), "set down by hand")
	s.macs("after a failover", s.activeIs(1), second, first, second)
	s.apply(plan.Release{Link: s.link(0)})
	s.apply(plan.Release{Link: s.link(1)})
	o := s.see()
	s.macs("after both left", o, o.Bond.MAC, first, second)
	s.join(1)
	s.join(0)
	s.macs("made again the other way", s.activeIs(1), second, first, second)
}

func macFollow(s *fixture) {
	first, second := s.own()
	s.bonded(activeBackup(string(bond.OptFailOverMac), "follow"))
	s.macs("with the first active", s.activeIs(0), first, first, second)
	s.must(s.w.SetDown(s.path, "net1"), "set down by hand")
	s.macs("after a failover", s.activeIs(1), first, second, first)
	s.must(s.w.SetUp(s.path, "net1"), "set up by hand")
	s.until("both are counted as up", func(o bond.Observed) bool { return o.Members[0].MIIUp && o.Members[1].MIIUp })
	s.apply(plan.SetActive{Link: s.link(0), Bond: s.bond()})
	s.macs("after the way back", s.activeIs(0), first, first, second)
	s.apply(plan.SetActive{Link: s.link(1), Bond: s.bond()})
	s.activeIs(1)
	s.apply(plan.Release{Link: s.link(1)})
	s.macs("after the active one was released", s.activeIs(0), first, first, second)
}

func macActiveSet(s *fixture) { s.macCannotBeSet("active") }
func macFollowSet(s *fixture) { s.macCannotBeSet("follow") }

func (s *fixture) macCannotBeSet(failOverMAC string) {
	first, second := s.own()
	s.bonded(activeBackup(string(bond.OptFailOverMac), failOverMAC))
	s.activeIs(0)
	s.apply(plan.SetMAC{Link: s.bond(), MAC: otherMAC(1)})
	s.macs("after it was set", s.see(), first, first, second)
}

func macOfActiveMember(s *fixture) {
	first, second := s.own()
	s.bonded(activeBackup())
	s.activeIs(0)
	s.rejected(plan.SetMAC{Link: s.link(0), MAC: otherMAC(1), Inactive: true}, bond.ErrStale)
	s.apply(plan.SetMAC{Link: s.link(0), MAC: otherMAC(1)})
	s.macs("after the active one's MAC was set", s.see(), first, otherMAC(1), second)
	s.apply(plan.SetActive{Link: s.link(1), Bond: s.bond()})
	s.macs("after it became a backup", s.activeIs(1), second, otherMAC(1), second)
	s.apply(plan.SetActive{Link: s.link(0), Bond: s.bond()})
	s.macs("after it became active again", s.activeIs(0), otherMAC(1), otherMAC(1), second)
}

func macRandom(s *fixture) {
	first, second := s.own()
	for _, given := range []bond.MAC{"", otherMAC(9)} {
		s.apply(plan.CreateBond{Name: "bond0", Options: activeBackup(string(bond.OptFailOverMac), "none"), MAC: given})
		s.apply(plan.Enslave{Link: s.link(0), Bond: s.bond()})
		want := given
		if given == "" {
			want = first
		}
		s.macs("with one member", s.see(), want, want)
		s.apply(plan.Release{Link: s.link(0)})
		o := s.see()
		if o.Bond.MAC == want || o.Bond.MAC.IsZero() || o.Bond.MAC == second {
			s.Errorf("the bond has MAC %s after its last member left, it had %s", o.Bond.MAC, want)
		}
		s.macs("after the last member left", o, o.Bond.MAC, first)
		s.apply(plan.Enslave{Link: s.link(1), Bond: s.bond()})
		s.macs("after another came", s.see(), second, first, second)
		s.apply(plan.Release{Link: s.link(1)})
		s.apply(plan.SetMAC{Link: s.bond(), MAC: otherMAC(8)})
		s.apply(plan.Enslave{Link: s.link(0), Bond: s.bond()})
		s.macs("that was set while there was no member", s.see(), otherMAC(8), otherMAC(8), second)
		s.apply(plan.DeleteBond{Bond: s.bond()})
	}
}

func macRestored(s *fixture) {
	first, second := s.own()
	s.apply(plan.CreateBond{Name: "bond0", Options: activeBackup(), MAC: otherMAC(1)})
	s.apply(plan.SetUp{Link: s.bond()})
	s.macs("without members", s.see(), otherMAC(1))
	for i := range 2 {
		s.join(i)
	}
	s.macs("with fail_over_mac=active", s.activeIs(0), first, first, second)
	s.apply(plan.DeleteBond{Bond: s.bond()})
	s.apply(plan.CreateBond{Name: "bond0", Options: activeBackup(string(bond.OptFailOverMac), "follow"), MAC: otherMAC(1)})
	s.apply(plan.SetUp{Link: s.bond()})
	for i := range 2 {
		s.join(i)
	}
	s.macs("with fail_over_mac=follow", s.activeIs(0), otherMAC(1), otherMAC(1), second)
	s.apply(plan.DeleteBond{Bond: s.bond()})
	o := s.see()
	s.equal("given back", []bond.MAC{o.Members[0].Link.MAC, o.Members[1].Link.MAC}, []bond.MAC{first, second})
}

func macBalanced(s *fixture) {
	first, second := s.own()
	for _, mode := range []string{"balance-tlb", "balance-alb"} {
		s.bonded(bond.Options{bond.OptMode: mode, bond.OptMiimon: "50"})
		s.macs(mode, s.activeIs(0), first, first, second)
		s.apply(plan.SetMAC{Link: s.bond(), MAC: otherMAC(1)})
		rest := second
		if mode == "balance-tlb" { // which sets it on all members, as other modes do
			rest = otherMAC(1)
		}
		s.macs(mode+" after it was set", s.see(), otherMAC(1), otherMAC(1), rest)
		s.apply(plan.DeleteBond{Bond: s.bond()})
		s.bonded(bond.Options{bond.OptMode: mode, bond.OptMiimon: "50"})
		s.must(s.w.SetDown(s.path, "net1"), "set down by hand")
		s.macs(mode+" after a failover", s.activeIs(1), first, second, first)
		s.apply(plan.DeleteBond{Bond: s.bond()})
		o := s.see()
		s.equal("given back by "+mode, []bond.MAC{o.Members[0].Link.MAC, o.Members[1].Link.MAC}, []bond.MAC{first, second})
	}
}

// macReset: balance-tlb swaps MACs without setting the cards', so two VFs have the same MAC after their driver has
// reset them.
func macReset(s *fixture) {
	first, second := s.own()
	s.bonded(bond.Options{bond.OptMode: "balance-tlb", bond.OptMiimon: "50"})
	s.macs("with the first active", s.activeIs(0), first, first, second)
	s.must(s.w.SetMTU(s.path, "net2", 1400), "set the MTU by hand")
	s.macs("after a reset of the second", s.see(), first, first, first)
	s.rejected(plan.SetMAC{Link: s.link(0), MAC: second, Inactive: true}, bond.ErrStale)
	s.apply(plan.SetMAC{Link: s.link(1), MAC: second, Inactive: true})
	s.bounceByHand(1)
	s.macs("after the second had its own again", s.see(), first, first, second)
	s.must(s.w.SetDown(s.path, "net1"), "set down by hand")
	s.macs("after a failover", s.activeIs(1), first, second, first)
	s.must(s.w.SetUp(s.path, "net1"), "set up by hand")
	s.bounceByHand(0)
	s.macs("after a reset of the first", s.activeIs(1), first, first, first)
	s.must(s.w.SetDown(s.path, "net2"), "set down by hand")
	s.macs("after a failover among equals", s.activeIs(0), first, first, first)
	s.apply(plan.SetMAC{Link: s.link(1), MAC: second})
	s.must(s.w.SetUp(s.path, "net2"), "set up by hand")
	s.bounceByHand(1)
	s.macs("after another reset of the second", s.activeIs(0), first, first, second)
	s.apply(plan.DeleteBond{Bond: s.bond()})
	o := s.see()
	s.equal("given back", []bond.MAC{o.Members[0].Link.MAC, o.Members[1].Link.MAC}, []bond.MAC{first, second})
}

// bounceByHand sets a member down and up, and waits until the bond counts it as up.
func (s *fixture) bounceByHand(i int) {
	s.Helper()
	name := s.r.Members[i].Name
	s.until(name+" is counted as up", func(o bond.Observed) bool { return o.Members[i].MIIUp })
	s.must(s.w.SetDown(s.path, name), "set down by hand")
	s.until(name+" is counted as down", func(o bond.Observed) bool { return !o.Members[i].MIIUp })
	s.must(s.w.SetUp(s.path, name), "set up by hand")
	s.until(name+" is counted as up again", func(o bond.Observed) bool { return o.Members[i].Link.Carrier && o.Members[i].MIIUp })
}

func macOthers(s *fixture) {
	first, second := s.own()
	for _, mode := range []string{"balance-rr", "balance-xor", "broadcast", "802.3ad"} {
		o := s.bonded(bond.Options{bond.OptMode: mode, bond.OptMiimon: "50"})
		s.macs(mode, o, first, first, first)
		s.equal("active member of "+mode, o.Bond.Active, 0)
		s.apply(plan.SetMAC{Link: s.bond(), MAC: otherMAC(1)})
		s.macs(mode+" after it was set", s.see(), otherMAC(1), otherMAC(1), otherMAC(1))
		s.apply(plan.DeleteBond{Bond: s.bond()})
		o = s.see()
		s.equal("given back by "+mode, []bond.MAC{o.Members[0].Link.MAC, o.Members[1].Link.MAC}, []bond.MAC{first, second})
	}
}

func macTwice(s *fixture) {
	first, second := s.own()
	s.apply(plan.SetMAC{Link: s.link(1), MAC: first})
	for _, mode := range []string{"balance-tlb", "balance-alb"} {
		s.try(bond.Options{bond.OptMode: mode, bond.OptMiimon: "50"}, func() {
			s.apply(plan.Enslave{Link: s.link(0), Bond: s.bond()})
			a := plan.Enslave{Link: s.link(1), Bond: s.bond()}
			err := s.w.Apply(s.Context(), s.r, a)
			// The link was opened in between; igbvf then uses its current MAC as the permanent one.
			if l := s.see().Members[1].Link; err == nil || l.Master != 0 || l.MAC != first {
				s.Errorf("%s in %s: %v; it is %s", a, mode, err, oneLine(l))
			}
		})
	}
	s.apply(plan.SetMAC{Link: s.link(1), MAC: second})
}

func macTwiceBackup(s *fixture) {
	first, second := s.own()
	s.apply(plan.SetMAC{Link: s.link(1), MAC: first})
	s.bonded(activeBackup())
	s.macs("with fail_over_mac=active", s.activeIs(0), first, first, first)
	s.apply(plan.DeleteBond{Bond: s.bond()})
	o := s.bonded(activeBackup(string(bond.OptFailOverMac), "follow"))
	if given := o.Members[1].Link.MAC; given == second || given.IsZero() || (given == first) == kernelSeparatesMACs(s.env.Release) {
		s.Errorf("with fail_over_mac=follow the second has %s", given)
	}
	s.apply(plan.DeleteBond{Bond: s.bond()})
	s.equal("given back", s.see().Members[1].Link.MAC, first)
}
