package linktest

import (
	"net/netip"
	"slices"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

var settingsCases = []contractCase{
	{"links on top of the bond are observed, and deleted with it", bonding_, linksOnTop},
	{"settings are set and observed", bonding_, setSettings},
	{"what ip and sysctl set is observed", bonding_, observeSettings},
	{"a bond that is made again has none of its settings", bonding_, settingsLost},
	{"traffic control is observed, and lost with the link", bonding_, trafficControl},
	{"ethtool settings are observed, and lost with the link", bonding_, ethtoolSettings},
	{"a VF that comes back has its driver's ethtool settings", bonding_ | vfs_, ethtoolOfAVF},
	{"a VF that comes back has none of its sysctls", bonding_ | vfs_, memberSettingsLost},
	{"a bond joins a VRF and is found there", bonding_, joinVRF},
	{"a bond joins only the VRF that is meant", bonding_, joinWrongVRF},
	{"a bond leaves a VRF that is deleted", bonding_, leaveVRF},
}

// someSettings differ from a new link's.
func someSettings() bond.SettingsChange {
	return bond.SettingsChange{
		TxQLen: new(4321), Flags: new(bond.FlagMulticast | bond.FlagAllMulti),
		Sysctls: []bond.Sysctl{
			{Family: "ipv4", Name: "arp_notify", Value: 1}, {Family: "ipv4", Name: "rp_filter", Value: 2},
			{Family: "ipv6", Name: "ndisc_notify", Value: 1}, {Family: "ipv6", Name: "router_solicitation_interval", Value: 7},
			{Family: "ipv6", Name: "keep_addr_on_down", Value: 1},
			{Family: "ipv4", Neigh: true, Name: "base_reachable_time_ms", Value: 12000},
			{Family: "ipv6", Neigh: true, Name: "ucast_solicit", Value: 5},
		},
	}
}

// has returns the first of the settings that an observation lacks; empty if it lacks none.
func has(s bond.LinkSettings, want bond.SettingsChange) string {
	switch {
	case want.TxQLen != nil && s.TxQLen != *want.TxQLen:
		return "txqlen"
	case want.Flags != nil && s.Flags != *want.Flags:
		return "flags " + s.Flags.String()
	}
	have := map[string]bool{}
	for _, c := range s.Sysctls() {
		have[c.String()] = true
	}
	for _, c := range want.Sysctls {
		if !have[c.String()] {
			return c.String()
		}
	}
	return ""
}

func setSettings(s *fixture) {
	s.r.Setup.Returned = time.Now() // during set-up all of them are read
	s.bonded(activeBackup())
	change := someSettings()
	s.apply(plan.SetLinkSettings{MemberIndex: plan.OnBond, Link: s.bond(), Change: change})
	if missing := has(s.see().Bond.Settings, change); missing != "" {
		s.Errorf("the bond was given %s and has not %s: %+v", change, missing, s.see().Bond.Settings)
	}
	s.apply(plan.SetLinkSettings{MemberIndex: 0, Link: s.link(0), Change: change})
	if missing := has(s.see().Members[0].Settings, change); missing != "" {
		s.Errorf("member 0 was given %s and has not %s", change, missing)
	}
	if d := s.see().Bond.Settings.Diff(s.see().Bond.Settings); !d.Empty() {
		s.Errorf("settings differ from themselves: %s", d)
	}
}

func observeSettings(s *fixture) {
	s.r.Setup.Returned = time.Now() // during set-up all of them are read
	s.bonded(activeBackup())
	change := someSettings()
	s.must(s.w.SetSettings(s.path, "bond0", change), "set by hand")
	if missing := has(s.see().Bond.Settings, change); missing != "" {
		s.Errorf("%s was set by hand and %s is not observed", change, missing)
	}
}

// settingsLost: the difference between what was learned and what the new bond has is restored.
func settingsLost(s *fixture) {
	s.r.Setup.Returned = time.Now() // during set-up all of them are read
	s.create(activeBackup())
	before := s.see().Bond.Settings
	change := someSettings()
	s.apply(plan.SetLinkSettings{MemberIndex: plan.OnBond, Link: s.bond(), Change: change})
	learned := s.see().Bond.Settings
	s.apply(plan.DeleteBond{Bond: s.bond()})
	s.create(activeBackup())
	fresh := s.see().Bond.Settings
	if d := before.Diff(fresh); !d.Empty() {
		s.Errorf("two new bonds differ: %s", d)
	}
	s.apply(plan.SetLinkSettings{MemberIndex: plan.OnBond, Link: s.bond(), Change: learned.Diff(fresh)})
	if d := learned.Diff(s.see().Bond.Settings); !d.Empty() {
		s.Errorf("not restored: %s", d)
	}
}

func memberSettingsLost(s *fixture) {
	s.r.Setup.Returned = time.Now() // during set-up all of them are read
	s.bonded(activeBackup())
	m := &s.r.Members[0]
	change := bond.SettingsChange{Sysctls: someSettings().Sysctls}
	s.apply(plan.SetLinkSettings{MemberIndex: 0, Link: s.link(0), Change: change})
	learned := s.see().Members[0].Settings
	s.must(s.w.UnbindVF(m.PCI), "unbind %s", m)
	s.must(s.w.BindVF(m.PCI), "bind %s", m)
	s.until("the VF is in the host", func(o bond.Observed) bool { return o.Members[0].Location == bond.InHost })
	s.apply(plan.MoveToPod{MemberIndex: 0, Link: s.link(0), Name: m.Name})
	d := learned.Diff(s.see().Members[0].Settings)
	if len(d.Sysctls) != len(change.Sysctls) {
		s.Errorf("a VF that came back does not have %s of %s", d, change)
	}
	s.apply(plan.SetLinkSettings{MemberIndex: 0, Link: s.link(0), Change: d})
	if d := learned.Diff(s.see().Members[0].Settings); !d.Empty() {
		s.Errorf("not restored: %s", d)
	}
}

func joinVRF(s *fixture) {
	s.must(s.w.AddVRF(s.path, "vrf9", 1009), "make a VRF")
	s.networked()
	s.r.Learned = &bond.Learned{Upper: &bond.Upper{Name: "vrf9", Kind: "vrf"}}
	o := s.see()
	if o.Bond.Upper != nil || o.Upper == nil || o.Upper.Name != "vrf9" {
		s.Fatalf("the bond's master is %v, the VRF is %v", o.Bond.Upper, o.Upper)
	}
	upper := bond.Upper{Index: o.Upper.Index, Name: o.Upper.Name, Kind: o.Upper.Kind, Table: 1009}
	s.apply(plan.SetUpper{MemberIndex: plan.OnBond, Bond: s.bond(), Upper: upper})
	s.equal("the bond's master", s.see().Bond.Upper, &upper)
	s.rejected(plan.SetUpper{MemberIndex: plan.OnBond, Bond: s.bond(), Upper: upper}, bond.ErrStale)
	s.apply(plan.DeleteBond{Bond: s.bond()})
	s.create(activeBackup())
	if o = s.see(); o.Bond.Upper != nil || o.Upper == nil {
		s.Errorf("a new bond's master is %v, the VRF is %v", o.Bond.Upper, o.Upper)
	}
}

// intoVRF makes a VRF and enslaves the bond to it.
func (s *fixture) intoVRF() {
	s.Helper()
	s.must(s.w.AddVRF(s.path, "vrf9", 1009), "make a VRF")
	u, _ := s.w.Link(s.path, "vrf9")
	s.apply(plan.SetUpper{MemberIndex: plan.OnBond, Bond: s.bond(), Upper: bond.Upper{Index: u.Index, Name: "vrf9", Kind: "vrf"}})
}

// leaveVRF: the kernel releases the bond of a VRF that is deleted, and deletes the bond's routes.
func leaveVRF(s *fixture) {
	s.networked()
	s.intoVRF()
	inVRF := bond.Route{Dst: netip.MustParsePrefix("198.51.100.0/24"), Table: new(1009)}
	s.apply(plan.AddRoute{MemberIndex: plan.OnBond, Bond: s.bond(), Route: inVRF})
	s.must(s.w.DeleteLink(s.path, "vrf9"), "delete the VRF")
	b := s.see().Bond
	if b.Upper != nil || !b.Up || plan.HasRoute(b, inVRF) {
		s.Errorf("without its VRF: up %t, master %v, routes %v", b.Up, b.Upper, b.Routes)
	}
}

func joinWrongVRF(s *fixture) {
	s.must(s.w.AddVRF(s.path, "vrf9", 1009), "make a VRF")
	s.create(activeBackup())
	s.r.Learned = &bond.Learned{Upper: &bond.Upper{Name: "vrf9", Kind: "vrf"}}
	u := s.see().Upper
	s.rejected(plan.SetUpper{MemberIndex: plan.OnBond, Bond: s.bond(), Upper: bond.Upper{Index: u.Index, Name: "vrf8", Kind: "vrf"}}, bond.ErrStale)
	s.rejected(plan.SetUpper{MemberIndex: plan.OnBond, Bond: s.bond(), Upper: bond.Upper{Index: 4711, Name: "vrf9", Kind: "vrf"}}, bond.ErrGone)
}

func linksOnTop(s *fixture) {
	s.bonded(activeBackup())
	onTop := func(want ...string) {
		s.Helper()
		if b := s.see().Bond; !b.OnTopKnown || !slices.Equal(b.OnTop, want) {
			s.Errorf("on top of the bond: %v (known: %t), want %v", b.OnTop, b.OnTopKnown, want)
		}
	}
	onTop()
	s.must(s.w.AddMacvlan(s.path, "above2", "bond0"), "make a macvlan")
	s.must(s.w.AddMacvlan(s.path, "above1", "bond0"), "make another")
	onTop("above1", "above2")
	s.intoVRF()
	onTop("above1", "above2") // the master is not on top
	s.must(s.w.DeleteLink(s.path, "above1"), "delete one")
	onTop("above2")
	s.must(s.w.Release(s.path, s.r.Members[1].Name), "release a member")
	if b := s.see().Bond; b.OnTopKnown {
		s.Errorf("while a member is to be attached, the links on top are read: %v", b.OnTop)
	}
	s.must(s.w.DeleteBond(s.path, "bond0"), "delete the bond")
	if l, exists := s.w.Link(s.path, "above2"); exists {
		s.Errorf("without its bond: %s", oneLine(l))
	}
}
