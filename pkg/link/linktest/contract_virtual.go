package linktest

import (
	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

var virtualCases = []contractCase{
	{"a link under the member's ifindex and name is not the member", virtual_, twin},
	{"a link of the host goes into the pod under another ifindex, and back under its own", virtual_, hostLink},
	{"an ifindex that is taken in the pod keeps the link in the host", virtual_, indexTaken},
	{"an ifindex that is taken in the host does not keep the link in the pod", virtual_, hostIndexTaken},
	{"a virtual link without proof changes no netns", virtual_, notProven},
	{"without a serial, a link from the host is known only in the bond", virtual_ | bonding_, olderRecord},
}

func twin(s *fixture) {
	l := s.link(0)
	s.must(s.w.DeleteBond(s.path, "net1"), "delete by hand")
	s.must(s.w.AddTwin(s.path, "net1", l.Index), "make a twin")
	m := s.see().Members[0]
	if m.Location != bond.Lost || m.NameHolder == nil || m.NameHolder.Index != l.Index {
		s.Errorf("member with a twin: %s", oneLine(m))
	}
	for _, a := range onLink(l) {
		s.rejected(a, bond.ErrStale)
	}
	s.rejected(plan.MoveToHost{Link: l, Name: "away"}, bond.ErrStale)
	s.r.Members[0].Original = bond.Original{Name: "net1", FromHost: true} // a link from the host follows the same rules
	s.equal("place", s.see().Members[0].Location, bond.Lost)
}

// podIndex is an ifindex that no kernel assigns by itself here.
const podIndex = 471100

// fromHost moves member 0 to the host as bkhost and records it as a link that came from the host.
func (s *fixture) fromHost() {
	s.Helper()
	s.must(s.w.Rename(s.path, "net1", "bkhost"), "rename by hand")
	s.must(s.w.MoveToHost(s.path, "bkhost"), "move by hand")
	l, _ := s.w.Link(Host, "bkhost")
	m := &s.r.Members[0]
	m.HostIndex, m.Index, m.Original = l.Index, podIndex, bond.Original{Name: "bkhost", FromHost: true}
	s.equal("place", s.see().Members[0].Location, bond.InHost)
}

func hostLink(s *fixture) {
	s.fromHost()
	hostIndex := s.r.Members[0].HostIndex
	s.must(s.w.Rename(Host, "bkhost", "bkother"), "rename by hand")
	s.equal("place of one that was renamed", s.see().Members[0].Location, bond.InHost)
	s.must(s.w.Rename(Host, "bkother", "bkhost"), "rename by hand")
	s.apply(plan.MoveToPod{Link: s.link(0), Name: "net1", Index: podIndex})
	m := s.see().Members[0]
	if m.Location != bond.InPod || m.Link.Index != podIndex || m.Link.Name != "net1" || m.Link.Serial != s.r.Members[0].Serial {
		s.Errorf("in the pod: %s", oneLine(m))
	}
	s.apply(plan.MoveToHost{Link: s.link(0), Name: "bkhost", Index: hostIndex})
	if l, _ := s.w.Link(Host, "bkhost"); l.Index != hostIndex {
		s.Errorf("back in the host: %s; it had ifindex %d", oneLine(l), hostIndex)
	}
	s.equal("place", s.see().Members[0].Location, bond.InHost)
	// Another link of the same kind, name and ifindex is left alone.
	s.must(s.w.DeleteBond(Host, "bkhost"), "delete by hand")
	s.must(s.w.AddTwin(Host, "bkhost", hostIndex), "make a twin")
	s.equal("place of the twin", s.see().Members[0].Location, bond.Lost)
}

func indexTaken(s *fixture) {
	s.fromHost()
	s.must(s.w.AddTwin(s.path, "bktaken", podIndex), "take the ifindex")
	s.rejected(plan.MoveToPod{Link: s.link(0), Name: "net1", Index: podIndex}, bond.ErrBusy)
	s.equal("place", s.see().Members[0].Location, bond.InHost)
}

func hostIndexTaken(s *fixture) {
	s.fromHost()
	hostIndex := s.r.Members[0].HostIndex
	s.apply(plan.MoveToPod{Link: s.link(0), Name: "net1", Index: podIndex})
	s.must(s.w.AddTwin(Host, "bktaken", hostIndex), "take the ifindex")
	s.apply(plan.MoveToHost{Link: s.link(0), Name: "bkhost", Index: hostIndex})
	m := s.see().Members[0]
	if m.Location != bond.InHost || m.Link.Name != "bkhost" || m.Link.Index == hostIndex {
		s.Errorf("in the host: %s", oneLine(m))
	}
}

func notProven(s *fixture) {
	l := s.link(0)
	serial := l.Serial
	l.Serial = 0
	s.rejected(plan.MoveToHost{Link: l, Name: "away"}, bond.ErrStale)
	l.Serial = serial + 1
	s.rejected(plan.MoveToHost{Link: l, Name: "away"}, bond.ErrStale)
	s.fromHost()
	l = s.link(0)
	l.Serial = 0
	s.rejected(plan.MoveToPod{Link: l, Name: "net1", Index: podIndex}, bond.ErrStale)
}

// olderRecord: a record of an older version has the ifindex that a link had in the host, which in the pod may be any
// other link's.
func olderRecord(s *fixture) {
	m := &s.r.Members[0]
	m.Serial, m.Kind = 0, ""
	s.equal("place of a link of the pod", s.see().Members[0].Location, bond.InPod)
	m.Original = bond.Original{Name: "bkhost", FromHost: true}
	s.equal("place of a link from the host", s.see().Members[0].Location, bond.Lost)
	s.create(activeBackup())
	s.equal("place beside a bond", s.see().Members[0].Location, bond.Lost)
	s.must(s.w.Enslave(s.path, "net1", "bond0"), "enslave by hand")
	s.equal("place in the bond", s.see().Members[0].Location, bond.InPod)
}
