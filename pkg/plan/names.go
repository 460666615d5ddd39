package plan

import "github.com/bondkeeper/bondkeeper/pkg/bond"

// planMemberName restores the name of a member in the pod.
func (b *builder) planMemberName(i int, l *bond.Link) {
	rec, m := &b.rec.Members[i], &b.obs.Members[i]
	if l.Name == rec.Name {
		return
	}
	if t := m.NameHolder; t != nil {
		b.resolveNameConflict(i, l, rec.Name, t)
		return
	}
	b.report(i, Renamed, "%s has the name %s in the pod", rec, l.Name)
	b.rename(i, l, rec.Name)
}

// resolveNameConflict handles a name that another link has. If that link is one of the bond's under a wrong name, the
// two may have each other's names; this one then takes a temporary name.
func (b *builder) resolveNameConflict(i int, l *bond.Link, name string, by *bond.Link) {
	if !b.isMisnamed(by.Index) {
		b.report(i, NameTaken, "%s should have the name %s, but another link in the pod has it (ifindex %d, kind %q); rename or delete that one", l.Name, name, by.Index, by.Kind)
		return
	}
	b.report(i, Renamed, "%s should have the name %s, which another link of the bond still has", l.Name, name)
	b.takeTempName(i, bond.TempName(l.PCI, l.Name), l)
}

// takeTempName gives a link a temporary name, so that the one that it has becomes free.
func (b *builder) takeTempName(i int, temp string, l *bond.Link) {
	if l.Name != temp {
		b.rename(i, l, temp)
	}
}

func (b *builder) rename(i int, l *bond.Link, to string) {
	b.add(Rename{MemberIndex: MemberIndex(i), Link: LinkRefOf(bond.InPod, l), To: to, Up: l.Up, Interrupt: l.Up && i != OnBond && b.interruptible(i)})
}

// interruptible reports whether a member carries no traffic of the bond that another member could not carry.
func (b *builder) interruptible(i int) bool {
	l := &b.obs.Members[i].Link
	if b.obs.Bond == nil {
		return true
	}
	if b.rec.Spec.Options.Mode().UsesPrimary() && b.obs.Bond.Active != 0 {
		return l.Index != b.obs.Bond.Active
	}
	for j := range b.obs.Members {
		if other := &b.obs.Members[j]; j != i && b.enslaved(other) && other.Link.Up && other.Link.Carrier {
			return true
		}
	}
	return !l.Carrier
}
