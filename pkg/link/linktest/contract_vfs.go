package linktest

import (
	"errors"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

var vfCases = []contractCase{
	{"a VF whose driver is unbound is lost, bound again it is in the host", vfs_, vfUnbound},
	{"the bond goes on while a VF is away", bonding_ | vfs_, vfOutsideBond},
	{"a VF in another pod is lost", vfs_, vfElsewhere},
	{"a VF in the host with its name hidden is found", vfs_, vfRenamedInHost},
	{"settings are put back on the PF", vfs_ | settings_, vfRestored},
	{"the PF's settings of a VF in the bond are read and restored", bonding_ | vfs_ | settings_, vfSettingsInBond},
	{"a link state is restored or rejected", vfs_ | settings_, vfLinkState},
	{"a MAC set on the PF is the VF's when it is bound again", vfs_ | settings_, vfAdminMAC},
	{"a VF that may not have the bond's MAC is not enslaved", bonding_ | vfs_ | settings_, vfRejectsMAC},
	{"settings of another VF are not touched", vfs_ | settings_, vfRestoreStale},
	{"a stale move is rejected", vfs_, vfMoveStale},
	{"sriov_numvfs resets what the PF keeps", vfs_ | settings_, vfsRemade},
	{"VFs are gone with sriov_numvfs, and found when they are made again", vfs_, vfsMissing},
	{"a PF whose driver is unbound takes its VFs along", vfs_, pfUnbound},
	{"a PF without carrier is reported", vfs_ | settings_ | carrier_, pfSilent},
	{"a VF that lost its carrier is reported with its PF", vfs_ | settings_ | carrier_, vfWithoutCarrier},
	{"a claim of another living netns is reported", vfs_, vfClaimed},
}

func vfUnbound(s *fixture) {
	m := s.r.Members[0]
	was := s.link(0)
	s.must(s.w.UnbindVF(m.PCI), "unbind")
	o := s.see()
	s.equal("driver of an unbound VF", o.Members[0].Driver, bond.NoDriver)
	if o.Members[0].Location != bond.Lost || o.Members[1].Location != bond.InPod {
		s.Errorf("unbound: %s", oneLine(o.Members))
	}
	s.rejected(plan.SetUp{Link: was}, bond.ErrGone)
	s.must(s.w.BindVF(m.PCI), "bind")
	o = s.until("it is in the host", func(o bond.Observed) bool { return o.Members[0].Location == bond.InHost })
	om := o.Members[0]
	if om.Link.PCI != m.PCI || om.Link.Up || om.Link.Master != 0 || om.Link.Name == m.Name || om.NameHolder != nil {
		s.Errorf("in the host: %s", oneLine(om))
	}
	s.wantPF(om.PF)
	s.rejected(plan.SetUp{Link: was}, bond.ErrGone)
	there := s.link(0)
	if there.Index == was.Index {
		s.Errorf("ifindex %d was given out twice", was.Index)
	}
	s.apply(plan.MoveToPod{Link: there, Name: m.Name, MAC: m.MAC, MTU: 1400, Alias: "enp1s0v0"})
	om = s.see().Members[0]
	s.equal("the ifindex, which is free in the pod", om.Link.Index, there.Index)
	s.equal("its alias", om.Link.Alias, "enp1s0v0")
	if om.Location != bond.InPod || om.Link.Name != m.Name || om.Link.MAC != m.MAC || om.Link.MTU != 1400 || om.Link.Up {
		s.Errorf("back in the pod: %s", oneLine(om))
	}
	s.apply(plan.SetUp{Link: s.link(0)})
	s.until("it carries", func(o bond.Observed) bool { return o.Members[0].Link.Carrier })
}

// wantPF checks what is observed of the PF of a VF in the host.
func (s *fixture) wantPF(pf *bond.ObservedPF) {
	s.Helper()
	if !s.env.PFSettings {
		s.equal("a PF without settings for VFs", pf, (*bond.ObservedPF)(nil))
		return
	}
	if pf == nil || pf.Name == "" || pf.Index == 0 || !pf.Up {
		s.Fatalf("its PF: %s", oneLine(pf))
	}
	v := pf.VF
	if v.MAC == nil || v.VLAN == nil || v.Rate == nil || v.SpoofChk == nil || v.Trust == nil {
		s.Errorf("what the PF keeps: %s", v)
	}
}

func vfOutsideBond(s *fixture) {
	s.bonded(activeBackup())
	m := s.r.Members[0]
	s.must(s.w.UnbindVF(m.PCI), "unbind")
	s.activeIs(1)
	s.must(s.w.BindVF(m.PCI), "bind")
	s.until("it is in the host", func(o bond.Observed) bool { return o.Members[0].Location == bond.InHost })
	s.apply(plan.MoveToPod{Link: s.link(0), Name: m.Name, MAC: m.MAC})
	s.join(0)
	o := s.see()
	s.activeStays(1)
	s.equal("unknown members", len(o.UnknownMembers), 0)
}

func vfElsewhere(s *fixture) {
	other := s.w.AddPod(s.path + "x")
	s.must(s.w.MoveToNetns(s.path, "net1", other.Path, "net1"), "move by hand")
	m := s.see().Members[0]
	s.equal("place", m.Location, bond.Lost)
	s.equal("driver of a VF in another netns", m.Driver, s.env.VFDriver)
}

func vfRenamedInHost(s *fixture) {
	s.must(s.w.MoveToHost(s.path, "net1"), "move by hand")
	s.must(s.w.Rename(Host, "net1", "bkhidden"), "rename by hand")
	m := s.see().Members[0]
	if m.Location != bond.InHost || m.Link.Name != "bkhidden" || m.Link.PCI != s.r.Members[0].PCI {
		s.Errorf("in the host: %s", oneLine(m))
	}
}

// toHost moves a member to the host, where its settings on the PF are read.
func (s *fixture) toHost(i int) {
	s.Helper()
	s.apply(plan.MoveToHost{Link: s.link(i), Name: s.r.Members[i].Name})
	if pf := s.see().Members[i].PF; (pf != nil) != s.env.PFSettings {
		s.Fatalf("the PF of a VF in the host: %s", oneLine(pf))
	}
}

func (s *fixture) restore(i int, settings bond.VFSettings) plan.RestoreVF {
	return plan.RestoreVF{PCI: s.r.Members[i].PCI, VF: *s.r.Members[i].VF, Settings: settings}
}

func vfRestored(s *fixture) {
	s.toHost(0)
	want := s.see().Members[0].PF.VF
	steps := []bond.VFSettings{
		{VLAN: &bond.VLAN{ID: 100, QoS: 3}}, {SpoofChk: new(false)}, {Trust: new(true)}, {Rate: &bond.VFRate{Max: 100}},
		{MAC: new(otherMAC(1))}, {VLAN: &bond.VLAN{}, SpoofChk: new(true), Trust: new(false), Rate: &bond.VFRate{}},
	}
	for _, step := range steps {
		s.apply(s.restore(0, step))
		want.MAC, want.VLAN, want.Rate = either(step.MAC, want.MAC), either(step.VLAN, want.VLAN), either(step.Rate, want.Rate)
		want.SpoofChk, want.Trust = either(step.SpoofChk, want.SpoofChk), either(step.Trust, want.Trust)
		have := s.see().Members[0].PF.VF
		if have.VLAN != nil && have.VLAN.Proto == 0x8100 {
			have.VLAN.Proto = want.VLAN.Proto // a driver may report the default protocol
		}
		if d := want.Diff(have); !d.Empty() {
			s.Errorf("after %s: want %s, have %s", step, want, have)
		}
	}
}

func vfSettingsInBond(s *fixture) {
	s.bonded(activeBackup())
	before := s.see().Members[0].PFSettings
	if before == nil || before.VLAN == nil || before.SpoofChk == nil || before.Trust == nil || before.Rate == nil || !before.HasLinkState(0) {
		s.Fatalf("not read: %s", oneLine(before))
	}
	pci := s.r.Members[0].PCI
	for _, changed := range []bond.VFSettings{
		{VLAN: &bond.VLAN{ID: 200, QoS: 3}}, {Rate: &bond.VFRate{Max: 100}}, {SpoofChk: new(false)}, {Trust: new(true)}, {MAC: new(otherMAC(3))},
	} {
		seen := s.see()
		s.must(s.w.SetVF(pci, changed), "set %s", changed)
		if have := s.w.Unannounced(s.Context(), s.r, seen).Members[0].PFSettings; have == nil || !changed.NotMet(*have).Empty() {
			s.Errorf("after %s, without an observation: %s", changed, oneLine(have))
		}
		have := s.see().Members[0].PFSettings
		if have == nil || !changed.NotMet(*have).Empty() {
			s.Errorf("after %s: %s", changed, oneLine(have))
		}
	}
	back := *before
	back.MAC, back.LinkState = new(s.r.Members[0].MAC), nil
	s.apply(s.restore(0, back))
	if have := s.see().Members[0].PFSettings; have == nil || !back.NotMet(*have).Empty() {
		s.Errorf("restored %s: %s", back, oneLine(have))
	}
	s.equal("the list of a PF with few VFs", s.see().Members[0].PFSettingsError, "")
	s.apply(plan.Release{Link: s.link(0)})
	if have := s.see().Members[0].PFSettings; have == nil || !back.NotMet(*have).Empty() {
		s.Errorf("outside the bond: %s", oneLine(have))
	}
}

func vfLinkState(s *fixture) {
	s.toHost(0)
	set := s.restore(0, bond.VFSettings{LinkState: new(uint32(1))})
	if !s.env.LinkState {
		s.rejected(set, bond.ErrUnsupported)
		return
	}
	s.apply(set)
	s.equal("link state", *s.see().Members[0].PF.VF.LinkState, uint32(1))
}

func vfAdminMAC(s *fixture) {
	m := s.r.Members[0]
	s.apply(s.restore(0, bond.VFSettings{MAC: new(otherMAC(7))})) // while it is in the pod
	s.must(s.w.UnbindVF(m.PCI), "unbind")
	s.must(s.w.BindVF(m.PCI), "bind")
	o := s.until("it is in the host", func(o bond.Observed) bool { return o.Members[0].Location == bond.InHost })
	s.equal("MAC", o.Members[0].Link.MAC, otherMAC(7))
	s.equal("permanent MAC", o.Members[0].Link.PermMAC, otherMAC(7))
}

func vfRestoreStale(s *fixture) {
	s.toHost(0)
	s.toHost(1)
	trust := bond.VFSettings{Trust: new(true)}
	before := s.see()
	wrong := s.restore(0, trust)
	wrong.PCI = s.r.Members[1].PCI
	s.rejected(wrong, bond.ErrStale)
	wrong = s.restore(0, trust)
	wrong.VF.Number = s.env.NumVFs
	s.rejected(wrong, bond.ErrGone)
	wrong = s.restore(0, trust)
	wrong.VF.PF = "0000:7f:00.0"
	s.rejected(wrong, bond.ErrGone)
	after := s.see()
	for i := range after.Members {
		s.equal("what the PF keeps", after.Members[i].PF.VF, before.Members[i].PF.VF)
	}
}

// vfRejectsMAC: the PF has set the VF's MAC, and the VF is not trusted to use another. That does not resolve itself
// with time.
func vfRejectsMAC(s *fixture) {
	if !kernelVFsRejectMACs(s.env.Release) {
		s.Skip("the VF driver of this kernel accepts a MAC that the PF does not permit")
	}
	s.apply(s.restore(1, bond.VFSettings{MAC: new(s.see().Members[1].Link.MAC), Trust: new(false)}))
	for _, mode := range []string{"balance-rr", "balance-tlb", "balance-alb"} {
		s.create(bond.Options{bond.OptMode: mode})
		s.apply(plan.Enslave{Link: s.link(0), Bond: s.bond()})
		a := plan.Enslave{Link: s.link(1), Bond: s.bond()}
		s.rejected(a, nil)
		if err := s.w.Apply(s.Context(), s.r, a); err == nil || errors.Is(err, bond.ErrBusy) || errors.Is(err, bond.ErrStale) || errors.Is(err, bond.ErrGone) || errors.Is(err, bond.ErrUnsupported) {
			s.Errorf("%s: %q: %v", mode, a, err)
		}
		s.apply(plan.DeleteBond{Bond: s.bond()})
	}
}

func vfMoveStale(s *fixture) {
	s.toHost(0)
	s.toHost(1)
	ref := s.link(0)
	ref.Index = s.link(1).Index
	s.rejected(plan.MoveToPod{Link: ref, Name: "net1"}, bond.ErrStale)
	ref.Index += 1000
	s.rejected(plan.MoveToPod{Link: ref, Name: "net1"}, bond.ErrGone)
	// In the host it was enslaved to another bond.
	if s.env.Bonding {
		s.must(s.w.AddBond(Host, "bkbond"), "make a bond in the host")
		s.must(s.w.Enslave(Host, "net1", "bkbond"), "enslave by hand")
		s.rejected(plan.MoveToPod{Link: s.link(0), Name: "net1"}, bond.ErrStale)
		s.must(s.w.DeleteBond(Host, "bkbond"), "delete the bond in the host")
	}
}

// pf is the PF of a member.
func (s *fixture) pf(i int) string {
	s.Helper()
	pf, err := s.w.PFOf(s.r.Members[i].PCI)
	s.must(err, "PF of %s", &s.r.Members[i])
	return pf
}

func vfsMissing(s *fixture) {
	pf := s.pf(0)
	s.must(s.w.SetNumVFs(pf, 0), "no VFs")
	o := s.see()
	s.equal("place", o.Members[0].Location, bond.Lost)
	s.equal("driver of a VF that does not exist", o.Members[0].Driver, bond.NoDevice)
	s.equal("place of the other card's VF", o.Members[1].Location, bond.InPod)
	s.must(s.w.SetNumVFs(pf, s.env.NumVFs), "VFs again")
	s.until("it is in the host", func(o bond.Observed) bool { return o.Members[0].Location == bond.InHost })
	m := s.r.Members[0]
	s.apply(plan.MoveToPod{Link: s.link(0), Name: m.Name, MAC: m.MAC})
	s.equal("MAC", s.see().Members[0].Link.MAC, m.MAC)
}

func vfsRemade(s *fixture) {
	m := s.r.Members[0]
	s.apply(s.restore(0, bond.VFSettings{MAC: new(otherMAC(1)), VLAN: &bond.VLAN{ID: 7}, Trust: new(true), SpoofChk: new(false)}))
	s.must(s.w.SetNumVFs(string(m.VF.PF), 0), "no VFs")
	s.rejected(s.restore(0, bond.VFSettings{Trust: new(true)}), bond.ErrGone)
	s.must(s.w.SetNumVFs(string(m.VF.PF), s.env.NumVFs), "VFs again")
	o := s.until("it is in the host", func(o bond.Observed) bool { return o.Members[0].Location == bond.InHost })
	v := o.Members[0].PF.VF
	if v.VLAN.ID != 0 || *v.Trust || !*v.SpoofChk || *v.MAC == otherMAC(1) || o.Members[0].Link.MAC == otherMAC(1) {
		s.Errorf("after the VFs were made again: %s, MAC %s", v, o.Members[0].Link.MAC)
	}
}

func pfUnbound(s *fixture) {
	pf := s.pf(0)
	s.must(s.w.UnbindPF(pf), "unbind the PF")
	om := s.see().Members[0]
	if om.Location != bond.Lost || om.PF != nil {
		s.Errorf("without its PF: %s", oneLine(om))
	}
	s.must(s.w.BindPF(pf), "bind the PF")
	s.equal("place", s.see().Members[0].Location, bond.Lost)
	s.must(s.w.SetNumVFs(pf, s.env.NumVFs), "VFs again")
	s.until("it is in the host", func(o bond.Observed) bool { return o.Members[0].Location == bond.InHost })
}

func pfSilent(s *fixture) {
	for i := range s.r.Members {
		s.apply(plan.SetUp{Link: s.link(i)})
	}
	s.until("both carry", func(o bond.Observed) bool { return o.Members[0].Link.Carrier && o.Members[1].Link.Carrier })
	s.equal("the PF of a VF with carrier is queried", s.see().Members[0].PF, (*bond.ObservedPF)(nil))
	s.must(s.w.SetCarrier(s.path, "net1", false), "pull the cable")
	o := s.until("no carrier", func(o bond.Observed) bool { return !o.Members[0].Link.Carrier })
	if pf := o.Members[0].PF; pf == nil || pf.Carrier || !o.Members[1].Link.Carrier {
		s.Errorf("PF of a VF without carrier: %s, the other VF: %s", oneLine(pf), oneLine(o.Members[1]))
	}
	s.must(s.w.SetCarrier(s.path, "net1", true), "plug the cable in")
	s.until("a carrier", func(o bond.Observed) bool { return o.Members[0].Link.Carrier })
}

func vfWithoutCarrier(s *fixture) {
	m := s.r.Members[0]
	s.apply(plan.SetUp{Link: s.link(0)})
	s.until("a carrier", func(o bond.Observed) bool { return o.Members[0].Link.Carrier })
	s.must(s.w.LoseCarrier(m.PCI), "reset the VF")
	if !kernelVFsLearnOfResets(s.env.Release) {
		s.equal("carrier of a VF whose driver learns of no reset", s.see().Members[0].Link.Carrier, true)
		return
	}
	o := s.until("no carrier, but the PF's", func(o bond.Observed) bool {
		om := o.Members[0]
		return om.Location == bond.InPod && !om.Link.Carrier && om.PF != nil && om.PF.Carrier
	})
	s.equal("up", o.Members[0].Link.Up, true)
	s.must(s.w.UnbindVF(m.PCI), "unbind")
	s.must(s.w.BindVF(m.PCI), "bind")
	s.until("it is in the host", func(o bond.Observed) bool { return o.Members[0].Location == bond.InHost })
	s.apply(plan.MoveToPod{Link: s.link(0), Name: "net1"})
	s.apply(plan.SetUp{Link: s.link(0)})
	s.until("a carrier", func(o bond.Observed) bool { return o.Members[0].Link.Carrier })
}

func vfClaimed(s *fixture) {
	pci := s.r.Members[0].PCI
	s.w.Claim(pci, s.path)
	s.equal("claim of its own netns", s.see().Members[0].ForeignClaim, "")
	other := s.w.AddPod(s.path + "x")
	s.w.Claim(pci, other.Path)
	s.equal("claim of another netns", s.see().Members[0].ForeignClaim, other.Path)
	s.toHost(0)
	s.rejected(plan.MoveToPod{Link: s.link(0), Name: "net1"}, bond.ErrStale)
	s.must(s.w.DeletePod(other.Path), "delete the other pod")
	s.equal("claim of a netns that is gone", s.see().Members[0].ForeignClaim, "")
	s.apply(plan.MoveToPod{Link: s.link(0), Name: "net1"})
}
