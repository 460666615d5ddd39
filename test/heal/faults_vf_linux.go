package heal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// unbindWithoutAgent shows what happens today: nothing. Then an agent comes.
func unbindWithoutAgent(ctx context.Context, s *faultRun) error {
	if err := s.r.stopAgent(ctx, unix.SIGTERM); err != nil {
		return err
	}
	p, vf := s.r.A, s.r.A.members[0].pci
	err := s.fault("no agent runs; igbvf lets go of net1 ("+vf+") and takes it again", func() error {
		if err := unbindVF(vf); err != nil {
			return err
		}
		return bindVF(vf)
	})
	if err != nil {
		return err
	}
	if err = s.quiet(ctx, 3*time.Second); err != nil {
		return err
	}
	name, err := topology.Netdev(vf)
	if err != nil {
		return fmt.Errorf("the VF should be in the host: %w", err)
	}
	now, err := p.snapshot(ctx)
	if err != nil {
		return err
	}
	if now["net1 master"] != "" || now["net2 master"] != BondName {
		return fmt.Errorf("the bond should run on net2 alone:\n  %s", strings.Join(now.diff(p.baseline), "\n  "))
	}
	s.logf("it lies in the host as %s, and the bond runs on net2 alone", name)
	err = s.giveBack("an agent starts", func() error { return s.r.useAgent(ctx) })
	if err != nil {
		return err
	}
	// It counts from the start of the agent, not from its first look.
	started, err := s.sees(ctx, "the agent's start", func(l Line) bool { return l.Msg == "agent started" })
	if err != nil {
		return err
	}
	s.returned, s.result.Detected = started.Time, 0
	if err := s.awaitRecovery(ctx, p); err != nil {
		return err
	}
	s.result.Outcome = "lay in the host; healed by an agent"
	return nil
}

// numVFs takes all VFs of a card and makes them again.
func numVFs(ctx context.Context, s *faultRun) error {
	c := s.r.cards[0]
	err := s.fault(fmt.Sprintf("sriov_numvfs of %s becomes 0", c.PF.PCI), func() error { return c.setNumVFs(0) })
	if err != nil {
		return err
	}
	if err = s.seesLoss(ctx, s.r.Pods()...); err != nil {
		return err
	}
	err = s.giveBack(fmt.Sprintf("sriov_numvfs of %s becomes %d", c.PF.PCI, len(c.VFs)), func() error { return c.setNumVFs(len(c.VFs)) })
	if err != nil {
		return err
	}
	return s.awaitRecovery(ctx, s.r.Pods()...)
}

// unbindPF takes the driver from a card, as an upgrade of the driver does.
func unbindPF(ctx context.Context, s *faultRun) error {
	c := s.r.cards[0]
	err := s.fault("igb lets go of "+c.PF.PCI, func() error { return write(pfDriver+"/unbind", c.PF.PCI) })
	if err != nil {
		return err
	}
	if err = s.seesLoss(ctx, s.r.Pods()...); err != nil {
		return err
	}
	s.logf("igb takes it again, and it is set up")
	if err = errors.Join(write(pfDriver+"/bind", c.PF.PCI), c.setPF(ctx, "up")); err != nil {
		return err
	}
	err = s.giveBack(fmt.Sprintf("its sriov_numvfs becomes %d", len(c.VFs)), func() error { return c.setNumVFs(len(c.VFs)) })
	if err != nil {
		return err
	}
	return s.awaitRecovery(ctx, s.r.Pods()...)
}

// functionReset resets a VF behind its driver's back. Its carrier goes and does not come back by itself.
func functionReset(ctx context.Context, s *faultRun) error {
	p, vf := s.r.A, s.r.A.members[0].pci
	err := s.fault("function-level reset of net1 ("+vf+")", func() error {
		return write(filepath.Join(pciDevices, vf, "reset"), "1")
	})
	if err != nil {
		return err
	}
	down, err := s.sees(ctx, "net1 without carrier", func(l Line) bool {
		return l.Msg == "bond state changed" && p.is(l) && strings.Contains(l.Reason, "no carrier")
	})
	if err != nil {
		return err
	}
	s.logf("the agent sees it after %s: %s", short(s.result.Detected), down.Reason)
	isBounce := func(l Line) bool { return p.is(l) && l.Msg == "applied" && strings.HasPrefix(l.Action, "bounce") }
	if _, err = s.sees(ctx, "the bounce", isBounce); err != nil {
		return err
	}
	s.logf("the agent sets it down and up")
	output, err := s.sees(ctx, "what came of the bounce", func(l Line) bool {
		return p.is(l) && (l.isRecovery() && l.Member == net1 ||
			l.Msg == "bond state changed" && strings.Contains(l.Reason, "did not help"))
	})
	if err != nil {
		return err
	}
	if output.Msg == "bond state changed" {
		s.result.Outcome = "bounced, then reported"
		s.logf("the agent reports: %s", output.Reason)
		err := s.giveBack("igbvf lets go of it and takes it again", func() error {
			if err := unbindVF(vf); err != nil {
				return err
			}
			return bindVF(vf)
		})
		if err != nil {
			return err
		}
	} else {
		s.result.Outcome = "bounced, healed"
	}
	if err := s.awaitRecovery(ctx, p); err != nil {
		return err
	}
	if n := s.count(isBounce); n != 1 {
		return fmt.Errorf("the agent bounced it %d times, want once", n)
	}
	return nil
}

// count counts the lines of the agent's log since the fault that match.
func (s *faultRun) count(match func(Line) bool) int {
	n := 0
	for _, l := range s.r.log.from(s.place) {
		if match(l) {
			n++
		}
	}
	return n
}

// pfDown takes the carrier of a card's VFs and gives it back. That is a failover, which is the
// kernel's to do and no loss: the bonds then have the other member's MAC, and keep it.
func pfDown(ctx context.Context, s *faultRun) error {
	c := s.r.cards[0]
	if err := s.fault("PF "+c.PF.PCI+" is set down", func() error { return c.setPF(ctx, "down") }); err != nil {
		return err
	}
	state := func(p *Pod, want string) func(Line) bool {
		return func(l Line) bool { return l.Msg == "bond state changed" && p.is(l) && l.State == want }
	}
	for _, p := range s.r.Pods() {
		if _, err := s.sees(ctx, "pod "+p.Name+" Degraded", state(p, "Degraded")); err != nil {
			return err
		}
	}
	s.logf("the agent reports both bonds as Degraded, the first after %s", short(s.result.Detected))
	if err := s.giveBack("PF "+c.PF.PCI+" is set up", func() error { return c.setPF(ctx, "up") }); err != nil {
		return err
	}
	for _, p := range s.r.Pods() {
		if err := s.r.awaitBaseline(ctx, p, BondName+" mac"); err != nil {
			return err
		}
		ready, err := s.sees(ctx, "pod "+p.Name+" Ready", state(p, "Ready"))
		if err != nil {
			return err
		}
		s.result.Recovered = max(s.result.Recovered, ready.Time.Sub(s.returned))
		s.result.Total = max(s.result.Total, ready.Time.Sub(s.began))
	}
	s.logf("the agent reports both bonds as Ready after %s", short(s.result.Recovered))
	if n := s.count(func(l Line) bool { return l.Msg == "applied" }); n != 0 {
		return fmt.Errorf("the agent made %d changes, want none: it does not manage the carrier", n)
	}
	s.result.Outcome = "reported degraded, then ready"
	// The other rows begin with net1 as the active member.
	for _, p := range s.r.Pods() {
		if err := ip(ctx, "-n %s link set %s type bond active_slave %s", p.Name, BondName, net1); err != nil {
			return err
		}
		if err := s.r.awaitBaseline(ctx, p); err != nil {
			return err
		}
	}
	return nil
}
