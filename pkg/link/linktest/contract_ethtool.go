package linktest

import (
	"slices"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// ethtoolOf observes the ethtool settings of the bond, or of a member.
func (s *fixture) ethtoolOf(i int) bond.Ethtool {
	s.Helper()
	o := s.see()
	settings, l := &o.Bond.Settings, &o.Bond.Link
	if i != plan.OnBond {
		settings, l = &o.Members[i].Settings, &o.Members[i].Link
	}
	if settings.Ethtool == nil || settings.EthtoolOf != l.Index {
		s.Fatalf("%s has ethtool settings %q of ifindex %d, want those of %d", l.Name, settings.Ethtool, settings.EthtoolOf, l.Index)
	}
	return settings.Ethtool
}

func (s *fixture) wantEthtool(what string, i int, before bond.Ethtool, want ...string) {
	s.Helper()
	now := s.ethtoolOf(i)
	if changed := now.Without(before).Strings(); !slices.Equal(changed, want) || len(now) != len(before) {
		s.Errorf("%s: ethtool settings changed to %q, want %q; before %q", what, changed, want, before)
	}
}

// ethtoolSettings are observed while no member is to be attached. A record without them has them read each time.
func ethtoolSettings(s *fixture) {
	feature := "feature tx-generic-segmentation" // every virtual link has it, and no other feature depends on it
	if s.env.VFs {                               // those of virtio cannot set it on again
		feature = "feature rx-gro"
	}
	s.bonded(activeBackup())
	name := s.r.Members[0].Name
	bondBefore, before := s.ethtoolOf(plan.OnBond), s.ethtoolOf(0)
	if lro, found := bondBefore["feature rx-lro"]; found {
		s.Errorf("LRO is %s: the kernel changes it itself", lro)
	}
	s.must(s.w.SetEthtool(s.path, "bond0", feature, "off"), "change the bond")
	s.wantEthtool("the bond is changed", plan.OnBond, bondBefore, feature+" off")
	s.wantEthtool("its member is not", 0, before)
	s.must(s.w.SetEthtool(s.path, name, feature, "off"), "change the member")
	s.wantEthtool("the member is changed", 0, before, feature+" off")

	s.must(s.w.SetDown(s.path, "bond0"), "set the bond down")
	s.must(s.w.SetDown(s.path, name), "set the member down")
	if o := s.see(); o.Bond.Settings.Ethtool != nil || o.Members[0].Settings.Ethtool != nil {
		s.Error("ethtool settings of links that are down are read")
	}
	s.apply(plan.SetUp{Link: s.bond()})
	s.apply(plan.SetUp{MemberIndex: 0, Link: s.link(0)})
	if s.env.VFs { // a virtual link may get another ifindex, and is then lost
		s.must(s.w.MoveToHost(s.path, name), "move the member to the host")
		s.must(s.w.MoveToNetns("", name, s.path, name), "move it back")
	} else {
		s.must(s.w.Release(s.path, name), "release the member")
	}
	if s.see().Bond.Settings.Ethtool != nil {
		s.Error("ethtool settings are read while a member is to be attached")
	}
	s.join(0)
	s.wantEthtool("a member that was moved", 0, before, feature+" off")
	s.wantEthtool("a bond that lost and got a member", plan.OnBond, bondBefore, feature+" off")

	s.apply(plan.DeleteBond{Bond: s.bond()})
	s.bonded(activeBackup())
	s.wantEthtool("a new bond", plan.OnBond, bondBefore)
	s.wantEthtool("its member", 0, before, feature+" off")
	s.must(s.w.SetEthtool(s.path, name, feature, "on"), "change it back, for the next case")
	s.wantEthtool("a member that was changed back", 0, before)
}

func ethtoolOfAVF(s *fixture) {
	s.bonded(activeBackup())
	m := &s.r.Members[0]
	before := s.ethtoolOf(0)
	rebind := func() {
		s.must(s.w.UnbindVF(m.PCI), "unbind %s", m)
		s.must(s.w.BindVF(m.PCI), "bind %s", m)
		s.until("the VF is in the host", func(o bond.Observed) bool { return o.Members[0].Location == bond.InHost })
		s.apply(plan.MoveToPod{MemberIndex: 0, Link: s.link(0), Name: m.Name})
		s.join(0)
	}
	rebind()
	s.wantEthtool("a VF that was not configured", 0, before)
	for _, name := range []string{"ring rx", "ring tx"} {
		s.must(s.w.SetEthtool(s.path, m.Name, name, "128"), "set %s", name)
	}
	s.wantEthtool("a configured VF", 0, before, "ring rx 128", "ring tx 128")
	rebind()
	s.wantEthtool("a configured VF that came back", 0, before)
}
