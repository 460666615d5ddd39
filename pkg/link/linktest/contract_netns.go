package linktest

import (
	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

var netnsCases = []contractCase{
	{"move to the host and back", anything, moveAndBack},
	{"a move to a name that the host has gets another", anything, moveToTakenName},
	{"a move into the pod under a name that is taken is rejected", anything, moveToPodTaken},
	{"a deleted netns is a dead sandbox", anything, sandboxDeleted},
	{"another netns on the path is a dead sandbox", anything, sandboxReplaced},
	{"a sandbox of an earlier boot is dead, and nothing is taken for its member", anything, sandboxOfEarlierBoot},
}

// inHost finds member i in the host by its name in the harness.
func (s *fixture) inHost(i int, name string) plan.LinkRef {
	s.Helper()
	l, found := s.w.Link(Host, name)
	if !found {
		s.Fatalf("the host has no link %s", name)
	}
	l.PCI, l.Serial = s.r.Members[i].PCI, s.r.Members[i].Serial
	return plan.LinkRefOf(bond.InHost, &l)
}

func moveAndBack(s *fixture) {
	s.apply(plan.SetUp{Link: s.link(0)})
	s.apply(plan.MoveToHost{Link: s.link(0), Name: "bkmoved"})
	want := bond.InHost
	if s.r.Members[0].PCI == "" {
		want = bond.Lost // a virtual link is searched for in the host only if it came from there
	}
	m := s.see().Members[0]
	s.equal("place", m.Location, want)
	if want == bond.InHost && (m.Link.Name != "bkmoved" || m.Link.Up) {
		s.Errorf("in the host: %s", oneLine(m.Link))
	}
	s.apply(plan.MoveToPod{Link: s.inHost(0, "bkmoved"), Name: "net7", MAC: otherMAC(4), MTU: 1450, Index: s.r.Members[0].Index})
	l, found := s.w.Link(s.path, "net7")
	if !found || l.MAC != otherMAC(4) || l.MTU != 1450 || l.Up {
		s.Errorf("back in the pod: %s (found %t)", oneLine(l), found)
	}
	if _, found := s.w.Link(Host, "bkmoved"); found {
		s.Error("the host still has it")
	}
	s.apply(plan.MoveToHost{Link: s.link(0), Name: "bkmoved"})
	s.apply(plan.MoveToPod{Link: s.inHost(0, "bkmoved"), Name: "net7", MTU: 10, Index: s.r.Members[0].Index})
	s.equal("MTU instead of one that the driver rejects", s.see().Members[0].Link.MTU, 1450)
	s.equal("place", s.see().Members[0].Location, bond.InPod)
}

func moveToTakenName(s *fixture) {
	s.apply(plan.MoveToHost{Link: s.link(0), Name: "bkmoved"})
	s.apply(plan.MoveToHost{Link: s.link(1), Name: "bkmoved"})
	if _, found := s.w.Link(s.path, "net2"); found {
		s.Error("the second one is still in the pod")
	}
	if s.r.Members[1].PCI != "" {
		m := s.see().Members[1]
		if m.Location != bond.InHost || m.Link.Name == "bkmoved" || m.Link.Name == "" {
			s.Errorf("the second one: %s", oneLine(m))
		}
	}
}

func moveToPodTaken(s *fixture) {
	s.apply(plan.MoveToHost{Link: s.link(0), Name: "bkmoved"})
	s.rejected(plan.MoveToPod{Link: s.inHost(0, "bkmoved"), Name: "net2"}, bond.ErrStale)
	s.inHost(0, "bkmoved")
}

func (s *fixture) dead() {
	s.Helper()
	o := s.see()
	if o.SandboxAlive || o.Bond != nil || o.NameHolder != nil || len(o.UnknownMembers) != 0 {
		s.Errorf("a dead sandbox: %s", oneLine(o))
	}
	for _, m := range o.Members {
		if m.Location == bond.InPod || m.NameHolder != nil {
			s.Errorf("a member of a dead sandbox: %s", oneLine(m))
		}
	}
}

func sandboxDeleted(s *fixture) {
	l := s.link(0)
	s.must(s.w.DeletePod(s.path), "delete the pod")
	s.dead()
	o := s.vfsReturn()
	for _, a := range append(onLink(l), plan.CreateBond{Name: "bond0"}, plan.MoveToHost{Link: l, Name: "away"}) {
		s.rejected(a, bond.ErrGone)
	}
	if s.env.VFs {
		for i, m := range o.Members {
			s.equal("name in the host", m.Link.Name, s.r.Members[i].Name)
			s.equal("up", m.Link.Up, false)
		}
		s.rejected(plan.MoveToPod{Link: s.link(0), Name: "net1"}, bond.ErrGone)
	}
}

// vfsReturn waits until the VFs of a deleted netns are in the host. The kernel moves them in the background
// (cleanup_net).
func (s *fixture) vfsReturn() bond.Observed {
	s.Helper()
	if !s.env.VFs {
		return s.see()
	}
	return s.until("both VFs are in the host", func(o bond.Observed) bool {
		return o.Members[0].Location == bond.InHost && o.Members[1].Location == bond.InHost
	})
}

func sandboxReplaced(s *fixture) {
	l := s.link(0)
	s.w.AddPod(s.path) // replaces the existing one
	_, err := s.w.AddImpostor(s.path, "net1")
	s.must(err, "make a link in the other netns")
	s.dead()
	s.vfsReturn()
	s.rejected(plan.SetUp{Link: l}, bond.ErrGone)
	s.rejected(plan.CreateBond{Name: "bond0"}, bond.ErrGone)
}

func sandboxOfEarlierBoot(s *fixture) {
	s.apply(plan.MoveToHost{Link: s.link(0), Name: "bkmoved"})
	s.r.Sandbox.Boot = "00000000-0000-0000-0000-000000000000"
	s.dead()
	for i, m := range s.see().Members {
		if m.Location != bond.Lost || m.ForeignClaim != "" || m.PF != nil {
			s.Errorf("member %d: %s", i, oneLine(m))
		}
	}
	s.rejected(plan.MoveToPod{Link: s.inHost(0, "bkmoved"), Name: "net1"}, bond.ErrGone)
}
