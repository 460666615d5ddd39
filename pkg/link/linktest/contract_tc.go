package linktest

import (
	"slices"

	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// trafficControl is read again in each observation while something is restored.
func trafficControl(s *fixture) {
	s.r.Restoring, s.r.Members[0].Restoring = true, true
	s.bonded(activeBackup())
	want := func(what string, bond, member []string) {
		s.Helper()
		o := s.see()
		if b := o.Bond.Settings.TC; b == nil || !slices.Equal(b, bond) {
			s.Errorf("%s: the bond has %q, want %q", what, b, bond)
		}
		if m := o.Members[0].Settings.TC; m == nil || !slices.Equal(m, member) {
			s.Errorf("%s: the member has %q, want %q", what, m, member)
		}
	}
	usual := s.see().Members[0].Settings.TC // a VF may have a qdisc by the node's default
	want("new links", nil, usual)
	s.must(s.w.AddQdisc(s.path, "bond0", "clsact"), "add to the bond")
	s.must(s.w.AddQdisc(s.path, "bond0", "prio"), "add to the bond")
	name := s.r.Members[0].Name
	s.must(s.w.AddQdisc(s.path, name, "clsact"), "add to the member")
	own := append(slices.Clone(usual), "clsact")
	want("added", []string{"root qdisc prio", "clsact"}, own)
	s.must(s.w.DeleteQdisc(s.path, "bond0", "clsact"), "delete from the bond")
	want("deleted", []string{"root qdisc prio"}, own)

	s.apply(plan.DeleteBond{Bond: s.bond()})
	s.create(activeBackup())
	s.apply(plan.SetUp{Link: s.bond()})
	want("a new bond", nil, own)

	s.must(s.w.MoveToHost(s.path, name), "move the member to the host")
	s.must(s.w.MoveToNetns("", name, s.path, name), "move it back")
	if m := s.see().Members[0].Settings.TC; slices.Contains(m, "clsact") {
		s.Errorf("a member that was in the host has %q", m)
	}
}
