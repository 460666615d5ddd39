package heal

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/faults"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// Faults is the catalogue.
func Faults() []Fault {
	var all []Fault
	for _, f := range faults.Rows() {
		run := special[f.Name]
		if f.Special == "" {
			run = steps(f)
		}
		all = append(all, Fault{Name: f.Name, Expect: f.Expect, Agent: f.Flags, Minor: f.Minor, Needs: f.Needs, run: run})
	}
	return all
}

// Demo are the rows of the demo and of README's table.
func Demo() []Fault {
	return slices.DeleteFunc(Faults(), func(f Fault) bool { return f.Minor })
}

// special are the functions of rows that have no steps.
var special = map[string]func(context.Context, *faultRun) error{
	"VF driver unbind and bind, agent stopped":            unbindWithoutAgent,
	"VF reset (function-level)":                           functionReset,
	"pod's netns deleted while a VF is away":              netnsDeleted,
	"default route set elsewhere by Multus, bond deleted": defaultRouteElsewhere,
	"chain with tuning and sbr, bond deleted":             chainDeleted,
	"VLAN and trust of a VF changed on its PF":            pfSettings,
	"VF released by sriov-cni while the record exists":    releasedVF,
	"agent killed in a storm, started again":              storm,
	"agent restarted, all bonds healthy":                  restart,
	"netlink socket overrun":                              overrun,
	"two agents":                                          twoAgents,
	"VF configured by the host as it returns":             configuredByHost,
	"VFs created without drivers, bound later":            boundLate,
}

// net1 is the member that faults break: the active one, whose MAC the bond has.
const net1 = "net1"

// steps runs a row of the catalogue with pod A.
func steps(f faults.Fault) func(context.Context, *faultRun) error {
	return func(ctx context.Context, s *faultRun) error {
		pods := []*Pod{s.r.A}
		if f.Card {
			pods = s.r.Pods()
		}
		for i := range f.Steps {
			if err := s.step(ctx, &f, i, pods); err != nil {
				return err
			}
		}
		if f.Outcome != "" {
			s.result.Outcome = f.Outcome
		}
		if f.Failover {
			return s.undoFailover(ctx)
		}
		return s.awaitRecovery(ctx, pods...)
	}
}

// step makes one step, and awaits the expected result for each pod.
func (s *faultRun) step(ctx context.Context, f *faults.Fault, i int, pods []*Pod) error {
	step, on := f.Steps[i], s.r.A.bond()
	do := func() error { return step.Do(on, 0) }
	what := step.What
	if what == "" {
		what = f.Name
	}
	var err error
	switch {
	case i > 0:
		err = s.giveBack(what, do)
	case f.Paused:
		err = s.fault(what+"; the agent is stopped (SIGSTOP) meanwhile", func() error { return s.paused(do) })
	default:
		err = s.fault(what, do)
	}
	for _, p := range pods {
		if err == nil {
			err = s.expect(ctx, &step, i, p)
		}
	}
	if err == nil && step.Untouched {
		err = s.untouched(ctx)
	}
	if err == nil && step.Check != nil {
		_, err = s.r.until(ctx, s.r.A, func(now snapshot) []string {
			if wrong := step.Check(on, 0); wrong != nil {
				return append(now.diff(s.r.A.baseline), wrong.Error())
			}
			return nil
		})
	}
	return err
}

// expect waits for the agent's report of a step, or of the loss.
func (s *faultRun) expect(ctx context.Context, step *faults.Step, i int, p *Pod) error {
	switch {
	case step.State != "":
		l, err := s.sees(ctx, fmt.Sprintf("pod %s %s", p.Name, step.State), func(l Line) bool {
			return l.Msg == "bond state changed" && p.is(l) && l.State == string(step.State) && strings.Contains(l.Reason, step.Report)
		})
		if err != nil {
			return err
		}
		if !s.returned.IsZero() {
			s.result.Recovered, s.result.Total = max(s.result.Recovered, l.Time.Sub(s.returned)), max(s.result.Total, l.Time.Sub(s.began))
		}
		s.logf("the agent reports pod %s as %s: %s", p.Name, l.State, l.Reason)
	case step.BothLost:
		for _, m := range p.members {
			if _, err := s.sees(ctx, "the loss of "+m.name, func(l Line) bool { return l.isLoss() && p.is(l) && l.Member == m.name }); err != nil {
				return err
			}
		}
		s.logf("the agent sees it after %s", short(s.result.Detected))
	case i == 0:
		return s.seesLoss(ctx, p)
	}
	return nil
}

// untouched waits until nothing changes any more, and fails if the agent has changed something.
func (s *faultRun) untouched(ctx context.Context) error {
	if err := s.quiet(ctx, 2*time.Second); err != nil {
		return err
	}
	if n := s.count(func(l Line) bool { return l.Msg == "applied" }); n != 0 {
		return fmt.Errorf("the agent changed something %d times, want none", n)
	}
	s.logf("and leaves everything alone")
	return nil
}

// undoFailover waits until the pods are as before, except for the MAC of the bond. The other rows start with net1 as
// the active member.
func (s *faultRun) undoFailover(ctx context.Context) error {
	for _, p := range s.r.Pods() {
		if err := s.r.awaitBaseline(ctx, p, BondName+" mac"); err != nil {
			return err
		}
		if err := ip(ctx, "-n %s link set %s type bond active_slave %s", p.Name, BondName, net1); err != nil {
			return err
		}
		if err := s.r.awaitBaseline(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// bond is the pod's bond for the catalogue.
func (p *Pod) bond() *faults.Bond {
	b := &faults.Bond{Node: kit.Links{}, Path: p.netns(), Name: BondName}
	for _, m := range p.members {
		c := p.fixture.cards[m.card]
		b.NumVFs = len(c.VFs)
		b.Members = append(b.Members, bond.Member{Name: m.name, PCI: bond.PCIAddress(m.pci), VF: &bond.VF{PF: bond.PCIAddress(c.PF.PCI)}})
	}
	return b
}

// row runs a row of the catalogue that has steps.
func (s *faultRun) row(ctx context.Context, name string) error {
	rows := faults.Rows()
	at := slices.IndexFunc(rows, func(f faults.Fault) bool { return f.Name == name })
	if at < 0 {
		return fmt.Errorf("the catalogue has no row %q", name)
	}
	return steps(rows[at])(ctx, s)
}
