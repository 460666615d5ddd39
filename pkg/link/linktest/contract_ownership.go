package linktest

import (
	"strings"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

var ownershipCases = []contractCase{
	{"a VF is owned while both of sriov-cni's files exist", vfs_, vfOwned},
	{"a VF whose files are gone is left alone", vfs_, vfReleased},
	{"a VF of a sriov-cni without claims is owned by its cache", vfs_, vfWithoutClaim},
	{"an unreadable claim forbids taking and hides nothing", vfs_, vfUnreadable},
	{"files that no record names are found while the VF is in the pod", vfs_, vfFilesFound},
	{"a VF that the record does not name is not touched", vfs_, vfNotRecorded},
}

// changes are the changes of a VF in the host that only the pod's owner may make.
func (s *fixture) changes(i int) []plan.Action {
	s.Helper()
	all := []plan.Action{
		plan.MoveToPod{Link: s.link(i), Name: s.r.Members[i].Name},
		plan.SetMAC{Link: s.link(i), MAC: otherMAC(3)},
		plan.SetMTU{Link: s.link(i), MTU: 1400},
		plan.Rename{Link: s.link(i), To: "bkother"},
		plan.SetUp{Link: s.link(i)},
	}
	if s.env.PFSettings {
		all = append(all, s.restore(i, bond.VFSettings{VLAN: &bond.VLAN{ID: 7}}))
	}
	return all
}

func (s *fixture) ownership(want bond.Ownership) {
	s.Helper()
	om := s.see().Members[0]
	if om.Ownership != want || (want == bond.Released || want == bond.Unreadable) != (om.OwnershipReason != "") {
		s.Errorf("ownership %q (%s), want %q", om.Ownership, om.OwnershipReason, want)
	}
}

func vfOwned(s *fixture) {
	s.ownership(bond.OwnerUnknown)
	s.w.Attach(s.r, 0)
	s.ownership(bond.Owned)
	s.toHost(0)
	s.ownership(bond.Owned)
	if s.env.PFSettings {
		s.apply(s.restore(0, bond.VFSettings{VLAN: &bond.VLAN{ID: 7}}))
	}
	s.apply(plan.MoveToPod{Link: s.link(0), Name: "net1"})
}

func vfReleased(s *fixture) {
	s.w.Attach(s.r, 0)
	m := &s.r.Members[0]
	other, dead := s.w.AddPod(s.path+"x"), s.w.AddPod(s.path+"y")
	s.must(s.w.DeletePod(dead.Path), "delete a pod")
	s.toHost(0)
	for _, gone := range []struct {
		what string
		do   func()
	}{
		{"no cache", func() { s.w.Cache(m.SriovCNI.Cache, "") }},
		{"a cache of another VF", func() { s.w.Cache(m.SriovCNI.Cache, s.r.Members[1].PCI) }},
		{"no claim", func() { s.w.Claim(m.PCI, "") }},
		{"a claim for another netns", func() { s.w.Claim(m.PCI, other.Path) }},
		{"a claim for a netns that is gone", func() { s.w.Claim(m.PCI, dead.Path) }},
		{"neither", func() { s.w.Cache(m.SriovCNI.Cache, ""); s.w.Claim(m.PCI, "") }},
	} {
		s.Log(gone.what)
		gone.do()
		s.ownership(bond.Released)
		for _, a := range s.changes(0) {
			s.rejected(a, bond.ErrStale)
		}
		s.w.Attach(s.r, 0)
	}
	s.ownership(bond.Owned)
	s.apply(plan.MoveToPod{Link: s.link(0), Name: "net1"})
	s.w.Claim(m.PCI, "")
	s.apply(plan.SetMTU{Link: s.link(0), MTU: 1400}) // in the pod: what a DEL restores
}

func vfWithoutClaim(s *fixture) {
	s.w.Attach(s.r, 0)
	m := &s.r.Members[0]
	m.SriovCNI.Claim = ""
	s.w.Claim(m.PCI, "")
	s.toHost(0)
	s.ownership(bond.Owned)
	other := s.w.AddPod(s.path + "x")
	s.w.Claim(m.PCI, other.Path) // a newer sriov-cni gave it to another pod
	s.ownership(bond.Released)
	s.rejected(plan.MoveToPod{Link: s.link(0), Name: "net1"}, bond.ErrStale)
	s.w.Claim(m.PCI, "")
	s.w.Cache(m.SriovCNI.Cache, "")
	s.ownership(bond.Released)
	s.rejected(plan.MoveToPod{Link: s.link(0), Name: "net1"}, bond.ErrStale)
}

func vfUnreadable(s *fixture) {
	s.toHost(0)
	for _, attached := range []bool{false, true} {
		if attached {
			s.w.Attach(s.r, 0)
		}
		s.w.BreakClaim(s.r.Members[0].PCI)
		s.ownership(bond.Unreadable)
		o := s.see()
		s.equal("place of the other VF", o.Members[1].Location, bond.InPod)
		if reason := o.Members[0].OwnershipReason; !strings.Contains(reason, string(s.r.Members[0].PCI)) {
			s.Errorf("the reason does not name the file: %s", reason)
		}
		for _, a := range s.changes(0) {
			s.rejected(a, nil)
		}
		s.w.Claim(s.r.Members[0].PCI, "")
	}
	s.w.Attach(s.r, 0)
	s.apply(plan.MoveToPod{Link: s.link(0), Name: "net1"})
}

func vfFilesFound(s *fixture) {
	s.w.Attach(s.r, 0)
	m := &s.r.Members[0]
	files := *m.SriovCNI
	s.equal("found beside recorded ones", s.see().Members[0].SriovCNI, (*bond.SriovCNI)(nil))
	m.SriovCNI = nil
	s.equal("found", s.see().Members[0].SriovCNI, &files)
	s.equal("found for another member", s.see().Members[1].SriovCNI, (*bond.SriovCNI)(nil))
	s.toHost(0)
	s.equal("found for a VF in the host", s.see().Members[0].SriovCNI, (*bond.SriovCNI)(nil))
	s.apply(plan.MoveToPod{Link: s.link(0), Name: "net1"})
	other := s.w.AddPod(s.path + "x")
	s.w.Claim(m.PCI, other.Path)
	s.equal("found with a claim for another netns", s.see().Members[0].SriovCNI, (*bond.SriovCNI)(nil))
}

func vfNotRecorded(s *fixture) {
	s.toHost(0)
	changes := s.changes(0)
	s.r.Members[0].PCI = "0000:ff:1f.7"
	for _, a := range changes {
		s.rejected(a, bond.ErrStale)
	}
}
