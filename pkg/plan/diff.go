package plan

import (
	"fmt"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// Diff returns what is to be done now. It never changes a link that is not in the record, and never releases a member
// that carries traffic from its bond, unless the record is a tombstone.
func Diff(in Input) Plan {
	b := &builder{rec: in.Record, obs: &in.Observed, hints: in.Hints, firstDEL: in.FirstDEL, stopping: in.Stopping, assignedMACs: map[bond.MAC]bool{}}
	switch {
	case in.Record.Deleted():
		b.planTeardown()
	case !in.Observed.SandboxAlive:
		b.reportWaiting(OnBond, SandboxGone, "the pod's netns %s is gone; the record waits for DEL", in.Record.Sandbox.Path)
	case in.Observed.Bond == nil:
		b.planCreate()
	default:
		b.planBondSettings()
		b.planLease()
		b.planBondExtras()
		b.reportLinksOnTop()
		b.reportLostSettings()
		if b.rec.Phase == bond.PhaseAdding {
			b.planMembers()
			b.planBondUp()
		} else {
			b.planBondUp()
			b.planMembers()
		}
		b.reportAggregator()
		b.planNetwork()
		b.planActive()
	}
	return b.verdict()
}

// builder builds one plan.
type builder struct {
	rec     *bond.Record
	obs     *bond.Observed
	hints   []Hint
	plan    Plan
	waiting bool
	// firstDEL and stopping are the input's.
	firstDEL, stopping bool
	// macUnknown: mode or failOverMac are not as recorded, so nothing about MACs can be concluded.
	macUnknown bool
	// announce: the addresses must be announced, because an address or MAC of the bond changes.
	announce bool
	// announceCause is the finding that the first such change follows from.
	announceCause int
	// assignedMACs are those that this plan assigns to members.
	assignedMACs map[bond.MAC]bool
}

// add adds an action that follows from the last finding of the same member.
func (b *builder) add(a Action) { b.addBecause(b.lastFinding(a.Subject()), a) }

func (b *builder) addBecause(cause int, a Action) {
	b.plan.Actions, b.plan.causes = append(b.plan.Actions, a), append(b.plan.causes, cause)
}

// lastFinding returns the index of the last finding of a member; -1 if it has none.
func (b *builder) lastFinding(member int) int {
	last := len(b.plan.Findings) - 1
	for last >= 0 && b.plan.Findings[last].Member != member {
		last--
	}
	return last
}

// announceLater has the addresses announced after the change that was added last.
func (b *builder) announceLater() {
	if !b.announce {
		b.announce, b.announceCause = true, b.lastFinding(OnBond)
	}
}

func (b *builder) report(member int, code Code, format string, args ...any) {
	b.plan.Findings = append(b.plan.Findings, Finding{Member: member, Code: code, Text: fmt.Sprintf(format, args...)})
}

// reportWaiting reports a finding that an external event resolves.
func (b *builder) reportWaiting(member int, code Code, format string, args ...any) {
	b.report(member, code, format, args...)
	b.waiting = true
}

func (b *builder) verdict() Plan {
	b.plan.Verdict = Converged
	if b.waiting {
		b.plan.Verdict = Wait
	}
	for _, f := range b.plan.Findings {
		if f.Code.needsManualAction() || f.Code == OwnerUnreadable && b.obs.Members[f.Member].Location == bond.InHost {
			b.plan.Verdict = Stuck
		}
	}
	if len(b.plan.Actions) > 0 {
		b.plan.Verdict = Act
	}
	return b.plan
}

func (b *builder) bondRef() LinkRef { return LinkRefOf(bond.InPod, &b.obs.Bond.Link) }

func (b *builder) planCreate() {
	name := b.rec.BondName()
	if s := b.obs.NameHolder; s != nil && !b.isMisnamed(s.Index) {
		b.report(OnBond, NameTaken, "another link in the pod has the bond's name %s (ifindex %d, kind %q); rename or delete it", s.Name, s.Index, s.Kind)
		return
	}
	b.report(OnBond, BondMissing, "the pod has no bond %s; creating it", name)
	if b.obs.NameHolder != nil {
		// A member has the bond's name: it gets its own name first, the bond follows in the next round.
		for i := range b.obs.Members {
			if m := &b.obs.Members[i]; m.Location == bond.InPod && m.Ownership != bond.Released {
				b.planMemberName(i, &m.Link)
			}
		}
		return
	}
	b.add(CreateBond{MemberIndex: OnBond, Name: name, Options: b.rec.Spec.Options.Effective(), MAC: b.rec.Spec.MAC, MTU: b.rec.Spec.MTU})
	if b.rec.Phase == bond.PhaseAdding {
		b.planCreated()
	}
}

// planCreated plans what follows the creation of an ADD's bond, so that it need not be observed and planned first. A
// bond that was lost may need settings and a master of other writers before its members: those take another round.
func (b *builder) planCreated() {
	spec := &b.rec.Spec
	b.obs.Bond = &bond.ObservedBond{
		Link:    bond.Link{Index: NewBond, Name: b.rec.BondName(), Kind: "bond", MAC: spec.MAC, MTU: spec.MTU},
		Options: spec.Options.Effective(),
	}
	b.planMembers()
	b.add(SetUp{MemberIndex: OnBond, Link: b.bondRef()})
}

// isMisnamed reports whether the link is one of the bond's under a wrong name, so that this name will become free. A VF
// that was returned to its owner keeps its name.
func (b *builder) isMisnamed(index int) bool {
	if o := b.obs.Bond; o != nil && o.Index == index {
		return o.Name != b.rec.BondName()
	}
	for i := range b.obs.Members {
		if m := &b.obs.Members[i]; m.Location == bond.InPod && m.Link.Index == index {
			return m.Link.Name != b.rec.Members[i].Name && m.Ownership != bond.Released
		}
	}
	return false
}

func (b *builder) hint(i int) Hint {
	if i < len(b.hints) {
		return b.hints[i]
	}
	return Hint{}
}
