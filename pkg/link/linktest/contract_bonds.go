package linktest

import (
	"errors"
	"slices"
	"strings"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

var bondCases = []contractCase{
	{"create a bond", bonding_, bondCreated},
	{"a bond is not made under a name that is taken", bonding_, bondNameTaken},
	{"a rejected option leaves no bond", bonding_, bondRejectedOption},
	{"a renamed bond is found, and the link that has its name is its name holder", bonding_, bondRenamed},
	{"a bond with another index is found by name", bonding_, bondRemade},
	{"delete a bond", bonding_, bondDeleted},
	{"a link that is up is not enslaved", bonding_, enslaveUp},
	{"a member of another bond is not enslaved", bonding_, enslaveOthers},
	{"a link with a macvlan on it is not enslaved", bonding_, enslaveInUse},
	{"enslaving forces the MTU and sets up", bonding_, enslaveForcesMTU},
	{"a member has its own MAC after the bond has changed its MTU", bonding_, enslaveMovesNoMAC},
	{"releasing gives MTU and MAC back and sets down", bonding_, releaseRestores},
	{"an unknown member is reported", bonding_, unknownMember},
	{"a ref to a link that is not a bond is rejected", bonding_, noBondRef},
	{"an action about a bond that was just created finds it under another name", bonding_, newBondRef},
	{"an ADD without addresses reads none", bonding_, networkAtStart},
	{"moving a member to the host releases it", bonding_, moveReleases},
	{"a deleted netns gives VFs back as they were", bonding_ | vfs_, netnsDeletedWithBond},
	{"failover, and no way back", bonding_, failover},
	{"failover when a cable is pulled", bonding_ | carrier_, failoverCable},
	{"set the active member", bonding_, setActive},
	{"the primary pre-empts when it is enslaved", bonding_, primaryPreempts},
	{"a primary enslaved under another name does not pre-empt", bonding_, primaryQuietly},
	{"a primary that is set before it is enslaved under another name does not pre-empt", bonding_, primarySetBefore},
	{"every enslaving makes the first member active again", bonding_, enslavingReselects},
	{"with primary_reselect=failure enslaving changes nothing", bonding_, enslavingQuietly},
	{"a bond without monitor believes in its members", bonding_, unmonitored},
	{"ARP targets that do not answer take the bond's carrier", bonding_, arpSilent},
	{"ARP targets that do not answer take the carrier of a bond with an active member", bonding_, arpSilentActiveBackup},
	{"802.3ad without a partner uses one port", bonding_, noPartner},
	{"802.3ad below min_links has no carrier", bonding_, belowMinLinks},
	{"other modes have no aggregator", bonding_, noAggregator},
	{"a bond that is down sees no carrier change", bonding_, downUnmonitored},
}

// activeBackup are the options of most cases; extra has pairs of name and value.
func activeBackup(extra ...string) bond.Options {
	o := bond.Options{bond.OptMode: "active-backup", bond.OptMiimon: "50", bond.OptFailOverMac: "active"}
	for i := 0; i < len(extra); i += 2 {
		o[bond.Option(extra[i])] = extra[i+1]
	}
	return o
}

func bondCreated(s *fixture) {
	s.apply(plan.CreateBond{Name: "bond0", Options: activeBackup(), MAC: otherMAC(1), MTU: 1400})
	o := s.see()
	if o.Bond == nil || o.NameHolder != nil {
		s.Fatalf("observed %s", oneLine(o))
	}
	b := o.Bond
	if b.Name != "bond0" || b.Kind != "bond" || b.MAC != otherMAC(1) || b.MTU != 1400 || b.Up || b.Carrier || b.HasMembers || b.Active != 0 {
		s.Errorf("created bond: %s", oneLine(b))
	}
	for name, value := range activeBackup() {
		s.equal(string(name), b.Options[name], value)
	}
	s.apply(plan.SetUp{Link: s.bond()})
	o = s.see()
	if !o.Bond.Up || o.Bond.Carrier {
		s.Errorf("a bond without members, up: %s", oneLine(o.Bond))
	}
	s.apply(plan.DeleteBond{Bond: s.bond()})
	s.apply(plan.CreateBond{Name: "bond0"})
	b = s.see().Bond
	if b.MAC.IsZero() || b.MAC == otherMAC(1) || b.MTU != 1500 || b.Options[bond.OptMode] != "balance-rr" {
		s.Errorf("bond with the kernel's choices: %s", oneLine(b))
	}
}

func bondNameTaken(s *fixture) {
	s.rejected(plan.CreateBond{Name: "net1", Options: activeBackup()}, bond.ErrStale)
	s.create(activeBackup())
	s.rejected(plan.CreateBond{Name: "bond0", Options: activeBackup()}, bond.ErrStale)
}

func bondRejectedOption(s *fixture) {
	s.rejected(plan.CreateBond{Name: "bond0", Options: bond.Options{bond.OptMode: "802.3ad", bond.OptPrimary: "net1"}}, nil)
}

func bondRenamed(s *fixture) {
	s.create(activeBackup())
	s.must(s.w.Rename(s.path, "bond0", "hidden"), "rename by hand")
	o := s.see()
	if o.Bond == nil || o.Bond.Name != "hidden" || o.NameHolder != nil {
		s.Fatalf("renamed bond: %s", oneLine(o))
	}
	impostor, err := s.w.AddImpostor(s.path, "bond0")
	s.must(err, "make a name holder")
	o = s.see()
	if o.Bond == nil || o.Bond.Name != "hidden" || o.NameHolder == nil || o.NameHolder.Index != impostor.Index {
		s.Errorf("renamed bond with a name holder: %s", oneLine(o))
	}
	s.r.BondIndex = impostor.Index // an index that another link has now proves nothing
	if o = s.see(); o.Bond != nil || o.NameHolder == nil {
		s.Errorf("a dummy taken for the bond: %s", oneLine(o))
	}
}

func bondRemade(s *fixture) {
	s.create(activeBackup())
	s.r.BondIndex += 500
	if o := s.see(); o.Bond == nil || o.NameHolder != nil {
		s.Errorf("observed %s", oneLine(o))
	}
	s.r.BondIndex = 0
	if o := s.see(); o.Bond == nil || o.NameHolder != nil {
		s.Errorf("observed %s", oneLine(o))
	}
}

func bondDeleted(s *fixture) {
	before := s.see()
	s.bonded(activeBackup(string(bond.OptFailOverMac), "none"))
	ref := s.bond()
	s.apply(plan.DeleteBond{Bond: ref})
	o := s.see()
	s.equal("bond", o.Bond, (*bond.ObservedBond)(nil))
	s.equal("members", o.Members, before.Members)
	for _, a := range []plan.Action{plan.DeleteBond{Bond: ref}, plan.SetOptions{Bond: ref, Options: bond.Options{bond.OptMiimon: "60"}}, plan.SetUp{Link: ref}} {
		s.rejected(a, bond.ErrGone)
	}
}

func enslaveUp(s *fixture) {
	s.create(activeBackup())
	s.apply(plan.SetUp{Link: s.link(0)})
	s.rejected(plan.Enslave{Link: s.link(0), Bond: s.bond()}, bond.ErrBusy)
}

func enslaveOthers(s *fixture) {
	s.create(activeBackup())
	s.apply(plan.Rename{Link: s.bond(), To: "bond1"})
	s.must(s.w.Enslave(s.path, "net1", "bond1"), "enslave by hand")
	s.r.BondIndex = 0
	s.create(activeBackup())
	s.rejected(plan.Enslave{Link: s.link(0), Bond: s.bond()}, bond.ErrStale)
}

// enslaveInUse: the error names the macvlan, and is not of the class that resolves itself with time.
func enslaveInUse(s *fixture) {
	s.create(activeBackup())
	s.must(s.w.AddMacvlan(s.path, "above", "net1"), "make a macvlan")
	enslave := plan.Enslave{Link: s.link(0), Bond: s.bond()}
	s.rejected(enslave, nil)
	if err := s.w.Apply(s.Context(), s.r, enslave); err == nil || errors.Is(err, bond.ErrBusy) || !strings.Contains(err.Error(), "above") {
		s.Errorf("enslave beside a macvlan: %v", err)
	}
	s.must(s.w.DeleteLink(s.path, "above"), "delete the macvlan")
	s.apply(enslave)
}

func enslaveForcesMTU(s *fixture) {
	s.apply(plan.CreateBond{Name: "bond0", Options: activeBackup(), MTU: 1400})
	s.apply(plan.Enslave{Link: s.link(0), Bond: s.bond()})
	o := s.see()
	l := o.Members[0].Link
	if l.MTU != 1400 || !l.Up || l.Master != o.Bond.Index || !o.Bond.HasMembers || len(o.UnknownMembers) != 0 {
		s.Errorf("enslaved: %s, bond %s", oneLine(l), oneLine(o.Bond))
	}
	s.apply(plan.Enslave{Link: s.link(0), Bond: s.bond()}) // it is already a member
	s.apply(plan.SetMTU{Link: s.bond(), MTU: 1300})
	s.equal("MTU of the member after the bond's was set", s.see().Members[0].Link.MTU, 1300)
	s.apply(plan.SetMTU{Link: s.link(0), MTU: 1450})
	o = s.see()
	s.equal("MTU of the member", o.Members[0].Link.MTU, 1450)
	s.equal("MTU of the bond", o.Bond.MTU, 1300)
	s.apply(plan.SetMTU{Link: s.bond(), MTU: 1300}) // members that already have it are not changed again
	s.equal("MTU of the member", s.see().Members[0].Link.MTU, 1450)
}

// enslaveMovesNoMAC: a driver that resets the link for a new MTU (igbvf) gives it the MAC that was set last.
func enslaveMovesNoMAC(s *fixture) {
	s.apply(plan.SetMAC{Link: s.link(0), MAC: otherMAC(2)})
	s.apply(plan.CreateBond{Name: "bond0", Options: activeBackup(), MAC: otherMAC(1), MTU: 1400})
	s.apply(plan.Enslave{Link: s.link(0), Bond: s.bond()})
	l := s.see().Members[0].Link
	s.equal("MTU in the bond", l.MTU, 1400)
	s.equal("MAC in the bond", l.MAC, otherMAC(2))
	s.apply(plan.Release{Link: s.link(0)})
	l = s.see().Members[0].Link
	s.equal("MTU after release", l.MTU, 1500)
	s.equal("MAC after release", l.MAC, otherMAC(2))
}

func releaseRestores(s *fixture) {
	s.apply(plan.SetMTU{Link: s.link(1), MTU: 1450})
	before := s.see().Members[1]
	s.apply(plan.CreateBond{Name: "bond0", Options: activeBackup(string(bond.OptFailOverMac), "none"), MTU: 1400})
	for i := range 2 {
		s.apply(plan.Enslave{Link: s.link(i), Bond: s.bond()})
	}
	s.apply(plan.Release{Link: s.link(1)})
	o := s.see()
	released := o.Members[1]
	released.PFSettings = nil // read only where there is a bond
	s.equal("released", released, before)
	s.equal("the other's master", o.Members[0].Link.Master, o.Bond.Index)
	s.apply(plan.Release{Link: s.link(1)}) // it has no master
	s.must(s.w.Release(s.path, "net1"), "release by hand")
	if o := s.see(); o.Members[0].Link.Master != 0 || o.Bond.HasMembers {
		s.Errorf("released by hand: %s", oneLine(o))
	}
}

func unknownMember(s *fixture) {
	s.create(activeBackup())
	d, err := s.w.AddImpostor(s.path, "other")
	s.must(err, "make a link")
	s.must(s.w.Enslave(s.path, "other", "bond0"), "enslave by hand")
	o := s.see()
	if !o.Bond.HasMembers || len(o.UnknownMembers) != 1 || o.UnknownMembers[0].Index != d.Index {
		s.Errorf("an unknown member: %s", oneLine(o))
	}
}

func newBondRef(s *fixture) {
	s.r.Phase = bond.PhaseAdding
	created := plan.LinkRef{Location: bond.InPod, Index: plan.NewBond, Name: s.r.Key.IfName}
	s.rejected(plan.Enslave{Link: s.link(0), Bond: created}, bond.ErrStale)
	s.apply(plan.CreateBond{Name: s.r.Key.IfName, Options: activeBackup()})
	s.must(s.w.Rename(s.path, s.r.Key.IfName, "hidden"), "rename by hand")
	s.apply(plan.Enslave{Link: s.link(0), Bond: created})
	s.apply(plan.SetUp{MemberIndex: plan.OnBond, Link: created})
	if o := s.see(); !o.Enslaved(0) || !o.Bond.Up {
		s.Errorf("after it was created: %s", oneLine(o))
	}
	s.must(s.w.DeleteBond(s.path, "hidden"), "delete by hand")
	s.rejected(plan.Enslave{Link: s.link(0), Bond: created}, bond.ErrGone)
}

// networkAtStart: addresses that an ADD has not requested do not matter to it. Later they do.
func networkAtStart(s *fixture) {
	s.bonded(activeBackup())
	extra := addr("192.0.2.1/24")
	s.apply(plan.AddAddress{Bond: s.bond(), Prefix: extra})
	s.r.Phase = bond.PhaseAdding
	if o := s.see(); len(o.Bond.Addresses)+len(o.Bond.Routes) != 0 || o.Bond.Unread != "" {
		s.Errorf("in an ADD without addresses: %s", oneLine(o))
	}
	s.r.Addresses = []bond.Address{{Prefix: extra}}
	if o := s.see(); !slices.Contains(o.Bond.Addresses, extra) {
		s.Errorf("in an ADD with addresses: %s", oneLine(o))
	}
}

func noBondRef(s *fixture) {
	s.create(activeBackup())
	not := s.link(1)
	not.PCI = ""
	for _, a := range []plan.Action{
		plan.DeleteBond{Bond: not}, plan.SetOptions{Bond: not, Options: bond.Options{bond.OptMiimon: "60"}},
		plan.Enslave{Link: s.link(0), Bond: not}, plan.SetActive{Link: s.link(0), Bond: not},
		plan.SetUp{MemberIndex: plan.OnBond, Link: not}, plan.SetMTU{MemberIndex: plan.OnBond, Link: not, MTU: 1400},
		plan.AddAddress{Bond: not, Prefix: addr("192.0.2.1/24")}, plan.AddRoute{Bond: not, Route: bond.Route{Dst: addr("198.51.100.0/24")}},
	} {
		s.rejected(a, bond.ErrStale)
	}
}

func moveReleases(s *fixture) {
	s.bonded(activeBackup())
	s.must(s.w.MoveToHost(s.path, "net1"), "move by hand")
	o := s.activeIs(1)
	if o.Members[0].Location == bond.InPod {
		s.Errorf("moved: %s", oneLine(o.Members[0]))
	}
	l, found := s.w.Link(Host, "net1")
	if !found || l.Up || l.Master != 0 || l.MAC != s.r.Members[0].MAC {
		s.Errorf("in the host: %s (found %t)", oneLine(l), found)
	}
}

func netnsDeletedWithBond(s *fixture) {
	s.bonded(activeBackup(string(bond.OptFailOverMac), "none"))
	s.must(s.w.DeletePod(s.path), "delete the pod")
	s.dead()
	for i, m := range s.vfsReturn().Members {
		if m.Link.Master != 0 || m.Link.Up || m.Link.MAC != s.r.Members[i].MAC {
			s.Errorf("in the host: %s, it was %s", oneLine(m.Link), &s.r.Members[i])
		}
	}
}
