package heal

import (
	"context"
	"fmt"
	"slices"
)

const recovered = "back as before"

// Faults is the table.
func Faults() []Fault {
	return slices.Concat(vfFaults(), podFaults(), otherWriterFaults(), agentFaults())
}

// net1 is the member that is broken where one is: the active one, whose MAC the bond has.
const net1 = "net1"

func vfFaults() []Fault {
	return []Fault{
		{Name: "VF driver unbind and bind, agent stopped", Expect: "stays in the host until an agent comes", run: unbindWithoutAgent},
		{Name: "VF driver unbind, later bind", Expect: recovered, run: unbind},
		{Name: "both VFs lost, back in order", Expect: recovered, run: unbindBoth(0, 1)},
		{Name: "both VFs lost, back in reverse order", Expect: recovered, run: unbindBoth(1, 0)},
		{Name: "sriov_numvfs 0, then N", Expect: recovered + ", in both pods", run: numVFs},
		{Name: "PF driver unbind, bind, sriov_numvfs", Expect: recovered + ", in both pods", run: unbindPF},
		{Name: "VF moved to the host by hand", Expect: recovered, run: byHand("link set net1 netns 1")},
		{Name: "VF reset (function-level)", Expect: "bounced once, then whole or reported", Agent: []string{"--carrier-patience", "4s"}, run: functionReset},
		{Name: "PF down, PF up", Expect: "degraded, then ready", run: pfDown},
	}
}

func podFaults() []Fault {
	return []Fault{
		{Name: "member released (nomaster)", Expect: recovered, run: byHand("link set net1 nomaster")},
		{Name: "member renamed in the pod", Expect: recovered, run: byHand("link set net1 name other0")},
		{Name: "bond deleted", Expect: "made anew", run: byHand("link del bond0")},
		{Name: "bond set down", Expect: recovered, run: byHand("link set bond0 down")},
		{Name: "member set down", Expect: recovered, run: byHand("link set net1 down")},
		{Name: "member's MTU changed", Expect: recovered, run: byHand("link set net1 mtu 1400")},
		{Name: "bond's MTU changed", Expect: recovered, run: byHand("link set bond0 mtu 1400")},
		{Name: "active member's MAC changed", Expect: recovered, run: byHand("link set net1 address 02:00:00:00:00:99")},
		{Name: "addresses flushed", Expect: recovered, run: byHand("address flush dev bond0 scope global")},
		{Name: "route deleted", Expect: recovered, run: byHand("route del default")},
		{Name: "bond option changed (miimon)", Expect: recovered, run: byHand("link set bond0 type bond miimon 250")},
		{Name: "bond option that cannot be changed live", Expect: "reported and left alone", run: optionDrift},
		{Name: "decoy with the name of a lost VF", Expect: "not enslaved, reported; VF gets its name later", run: impostor},
		{Name: "pod's netns deleted while a VF is away", Expect: "VF stays in the host, no error loop", Agent: []string{"--resync", "3s"}, run: netnsDeleted},
	}
}

// unbind takes the driver from the active member's VF and gives it back when the agent has seen the loss.
func unbind(ctx context.Context, s *faultRun) error {
	return s.unbindAndBind(ctx, s.r.A, []int{0}, []int{0})
}

// unbindBoth takes both VFs, and gives them back in an order.
func unbindBoth(back ...int) func(context.Context, *faultRun) error {
	return func(ctx context.Context, s *faultRun) error {
		return s.unbindAndBind(ctx, s.r.A, []int{0, 1}, back)
	}
}

func (s *faultRun) unbindAndBind(ctx context.Context, p *Pod, lost, back []int) error {
	err := s.fault(fmt.Sprintf("igbvf lets go of %s", p.pcis(lost)), func() error {
		for _, i := range lost {
			if err := unbindVF(p.members[i].pci); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, i := range lost {
		name := p.members[i].name
		if _, err = s.sees(ctx, "the loss of "+name, func(l Line) bool { return l.isLoss() && p.is(l) && l.Member == name }); err != nil {
			return err
		}
	}
	s.logf("the agent sees it after %s", short(s.result.Detected))
	err = s.giveBack(fmt.Sprintf("igbvf takes %s", p.pcis(back)), func() error {
		for _, i := range back {
			if err = bindVF(p.members[i].pci); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.awaitRecovery(ctx, p)
}

// pcis names members for people.
func (p *Pod) pcis(members []int) string {
	text := ""
	for _, i := range members {
		if text != "" {
			text += ", then "
		}
		text += p.members[i].name + " (" + p.members[i].pci + ")"
	}
	return text + " of " + p.Name
}

// byHand is a command of ip(8) that somebody gives in pod A.
func byHand(line string) func(context.Context, *faultRun) error {
	return func(ctx context.Context, s *faultRun) error {
		if err := s.fault("ip "+line, func() error { return ip(ctx, "-n %s %s", s.r.A.Name, line) }); err != nil {
			return err
		}
		if err := s.seesLoss(ctx, s.r.A); err != nil {
			return err
		}
		return s.awaitRecovery(ctx, s.r.A)
	}
}
