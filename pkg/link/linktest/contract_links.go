package linktest

import (
	"context"
	"errors"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

var linkCases = []contractCase{
	{"links are observed as they are", anything, linksObserved},
	{"set up and set down", anything, linkUpDown},
	{"bounce ends up", anything, linkBounce},
	{"set MTU", anything, linkMTU},
	{"set MAC", anything, linkMAC},
	{"rename", anything, linkRename},
	{"a link that may be set down is renamed while it is up", anything, linkRenameUp},
	{"a rename to a name that is taken is rejected", anything, linkRenameTaken},
	{"a renamed member is found", anything, memberRenamed},
	{"an impostor is not taken for the member", anything, memberImpostor},
	{"a ref whose link is gone is rejected", anything, refGone},
	{"a ref to another link is rejected", anything, refStale},
	{"a ref with the wrong location is rejected", anything, refMisplaced},
	{"a cancelled context ends everything", anything, cancelled},
}

func linksObserved(s *fixture) {
	o := s.see()
	if !o.SandboxAlive || o.Bond != nil || o.NameHolder != nil || len(o.UnknownMembers) != 0 {
		s.Errorf("a pod without bond: %s", oneLine(o))
	}
	for i, m := range o.Members {
		want := &s.r.Members[i]
		if m.Location != bond.InPod || m.NameHolder != nil || m.ForeignClaim != "" {
			s.Errorf("%s: %s", want, oneLine(m))
		}
		l := m.Link
		if l.Name != want.Name || l.PCI != want.PCI || l.MAC != want.MAC || l.Up || l.Carrier || l.Master != 0 {
			s.Errorf("%s is observed as %s", want, oneLine(l))
		}
		same, found := s.w.Link(s.path, want.Name)
		if !found || same.Index != l.Index || same.MTU != l.MTU || same.Kind != l.Kind || same.MAC != l.MAC {
			s.Errorf("%s is observed as %s, it is %s", want, oneLine(l), oneLine(same))
		}
	}
}

func linkUpDown(s *fixture) {
	up := func(want bool) {
		s.Helper()
		s.equal("up", s.see().Members[0].Link.Up, want)
		s.equal("the other one's up", s.see().Members[1].Link.Up, false)
	}
	s.apply(plan.SetUp{Link: s.link(0)})
	up(true)
	s.until("a carrier", func(o bond.Observed) bool { return o.Members[0].Link.Carrier })
	s.apply(plan.SetUp{Link: s.link(0)})
	up(true)
	s.apply(plan.SetDown{Link: s.link(0)})
	up(false)
	s.equal("carrier of a link that is down", s.see().Members[0].Link.Carrier, false)
	s.apply(plan.SetDown{Link: s.link(0)})
	up(false)
}

func linkBounce(s *fixture) {
	s.apply(plan.SetUp{Link: s.link(0)})
	s.apply(plan.Bounce{Link: s.link(0)})
	s.equal("up", s.see().Members[0].Link.Up, true)
	s.until("a carrier", func(o bond.Observed) bool { return o.Members[0].Link.Carrier })
}

func linkMTU(s *fixture) {
	s.apply(plan.SetMTU{Link: s.link(0), MTU: 1400})
	s.equal("MTU", s.see().Members[0].Link.MTU, 1400)
	s.rejected(plan.SetMTU{Link: s.link(0), MTU: 10}, nil)
}

func linkMAC(s *fixture) {
	s.apply(plan.SetMAC{Link: s.link(0), MAC: otherMAC(1)})
	s.equal("MAC while down", s.see().Members[0].Link.MAC, otherMAC(1))
	s.apply(plan.SetUp{Link: s.link(0)})
	s.apply(plan.SetMAC{Link: s.link(0), MAC: otherMAC(2)})
	s.equal("MAC while up", s.see().Members[0].Link.MAC, otherMAC(2))
}

func linkRename(s *fixture) {
	s.apply(plan.Rename{Link: s.link(0), To: "other"})
	s.equal("name", s.see().Members[0].Link.Name, "other")
	s.apply(plan.SetUp{Link: s.link(0)})
	if up := (plan.Rename{Link: s.link(0), To: "net1"}); KernelRenamesUp(s.env.Release) {
		s.apply(up)
		s.equal("name", s.see().Members[0].Link.Name, "net1")
	} else {
		s.rejected(up, bond.ErrBusy)
	}
	s.apply(plan.SetDown{Link: s.link(0)})
	s.rejected(plan.Rename{Link: s.link(0), To: "a/b"}, nil)
}

// linkRenameUp: a link that may be set down for a new name is up afterwards, also if it does not get the name.
func linkRenameUp(s *fixture) {
	s.apply(plan.SetUp{Link: s.link(0)})
	s.apply(plan.Rename{Link: s.link(0), To: "other", Up: true, Interrupt: true})
	l := s.see().Members[0].Link
	s.equal("name", l.Name, "other")
	s.equal("up", l.Up, true)
	s.rejected(plan.Rename{Link: s.link(0), To: "net2", Up: true, Interrupt: true}, bond.ErrStale)
	l = s.see().Members[0].Link
	s.equal("name", l.Name, "other")
	s.equal("up", l.Up, true)
}

func linkRenameTaken(s *fixture) {
	s.rejected(plan.Rename{Link: s.link(0), To: "net2"}, bond.ErrStale)
}

func memberRenamed(s *fixture) {
	index := s.link(0).Index
	s.must(s.w.Rename(s.path, "net1", "hidden"), "rename by hand")
	m := s.see().Members[0]
	if m.Location != bond.InPod || m.Link.Index != index || m.Link.Name != "hidden" || m.NameHolder != nil {
		s.Errorf("renamed member: %s", oneLine(m))
	}
}

func memberImpostor(s *fixture) {
	index := s.link(0).Index
	s.must(s.w.Rename(s.path, "net1", "hidden"), "rename by hand")
	impostor, err := s.w.AddImpostor(s.path, "net1")
	s.must(err, "make an impostor")
	m := s.see().Members[0]
	if m.Location != bond.InPod || m.Link.Index != index || m.NameHolder == nil || m.NameHolder.Index != impostor.Index {
		s.Errorf("member with an impostor: %s", oneLine(m))
	}
	temporary, err := s.w.AddImpostor(s.path, s.r.Members[0].TempName())
	s.must(err, "make an impostor with the temporary name")
	if taken := s.see().Members[0].TempNameHolder; m.TempNameHolder != nil || taken == nil || taken.Index != temporary.Index {
		s.Errorf("temporary name taken by %s, want %s, and before by none: %s", oneLine(taken), oneLine(temporary), oneLine(m.TempNameHolder))
	}
	// After the link has ended, the impostor must not be taken for it.
	s.must(s.w.MoveToNetns(s.path, "hidden", s.w.AddPod(s.path+"x").Path, "hidden"), "move by hand")
	m = s.see().Members[0]
	if m.Location != bond.Lost || m.NameHolder == nil || m.NameHolder.Index != impostor.Index {
		s.Errorf("lost member with an impostor: %s", oneLine(m))
	}
}

// onLink are all actions on one link.
func onLink(l plan.LinkRef) []plan.Action {
	return []plan.Action{
		plan.Rename{Link: l, To: "other"}, plan.SetMAC{Link: l, MAC: otherMAC(3)}, plan.SetMTU{Link: l, MTU: 1300},
		plan.SetUp{Link: l}, plan.SetDown{Link: l}, plan.Bounce{Link: l}, plan.Release{Link: l},
	}
}

func refGone(s *fixture) {
	l := s.link(0)
	l.Index += 1000
	for _, a := range onLink(l) {
		s.rejected(a, bond.ErrGone)
	}
	s.rejected(plan.MoveToHost{Link: l, Name: "away"}, bond.ErrGone)
}

func refStale(s *fixture) {
	// Another link now has the planned link's ifindex.
	l, other := s.link(0), s.link(1)
	if l.PCI == "" { // two virtual links are distinguished by their index only
		l.PCI = "0000:7f:1f.7"
	}
	l.Index = other.Index
	for _, a := range onLink(l) {
		s.rejected(a, bond.ErrStale)
	}
	s.rejected(plan.MoveToHost{Link: l, Name: "away"}, bond.ErrStale)
	// A device with the ifindex of the planned virtual link.
	if other.PCI != "" {
		s.rejected(plan.SetUp{Link: plan.LinkRef{Location: bond.InPod, Index: other.Index}}, bond.ErrStale)
	}
}

// refMisplaced: an action that moves a link names its current place, and the link must be there.
func refMisplaced(s *fixture) {
	l := s.link(0)
	s.rejected(plan.MoveToPod{Link: l, Name: "net9"}, bond.ErrStale)
	l.Location = bond.InHost
	s.rejected(plan.MoveToHost{Link: l, Name: "net9"}, bond.ErrStale)
	l.Location = bond.Lost
	s.rejected(plan.SetUp{Link: l}, bond.ErrStale)
}

func cancelled(s *fixture) {
	l := s.link(0)
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	if _, err := s.w.Observe(ctx, s.r); !errors.Is(err, context.Canceled) {
		s.Errorf("Observe: %v", err)
	}
	if err := s.w.Apply(ctx, s.r, plan.SetUp{Link: l}); !errors.Is(err, context.Canceled) {
		s.Errorf("Apply: %v", err)
	}
	s.equal("up", s.see().Members[0].Link.Up, false)
}
