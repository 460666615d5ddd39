package heal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// unbindWithoutAgent shows the problem: without an agent nothing is repaired. Then an agent starts.
func unbindWithoutAgent(ctx context.Context, s *faultRun) error {
	if err := s.r.stopAgent(ctx, unix.SIGTERM); err != nil {
		return err
	}
	p, vf := s.r.A, s.r.A.members[0].pci
	err := s.fault("no agent runs; its driver lets go of net1 ("+vf+") and takes it again", func() error {
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
	// The time counts from the start of the agent, not from its first reconcile.
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

// functionReset resets a VF without its driver's knowledge. Its carrier is lost and does not return by itself.
func functionReset(ctx context.Context, s *faultRun) error {
	p, vf := s.r.A, s.r.A.members[0].pci
	err := s.fault("function-level reset of net1 ("+vf+")", func() error {
		return write(filepath.Join(pciDevices, vf, "reset"), "1")
	})
	if err != nil {
		return err
	}
	if !bond.KernelAtLeast(kit.KernelRelease(), learnsOfResets) {
		return resetUnnoticed(ctx, s)
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
		err := s.giveBack("its driver lets go of it and takes it again", func() error {
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

// learnsOfResets is a kernel whose igbvf has PCI reset handlers; that of 6.1 has none.
const learnsOfResets = "6.3"

// resetUnnoticed: the driver does not learn of the reset, so the VF keeps its carrier and carries nothing. Only an ARP
// monitor would see it. A new driver instance helps.
func resetUnnoticed(ctx context.Context, s *faultRun) error {
	p, vf := s.r.A, s.r.A.members[0].pci
	if err := s.giveBack("this kernel's igbvf does not notice; it lets go of net1 and takes it again", func() error {
		return errors.Join(unbindVF(vf), bindVF(vf))
	}); err != nil {
		return err
	}
	s.result.Outcome = "not noticed by this kernel's driver; healed with a new one"
	return s.awaitRecovery(ctx, p)
}

// count returns the number of matching log lines since the fault.
func (s *faultRun) count(match func(Line) bool) int {
	n := 0
	for _, l := range s.r.log.from(s.place) {
		if match(l) {
			n++
		}
	}
	return n
}
