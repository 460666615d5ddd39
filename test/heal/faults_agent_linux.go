package heal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/test/faults"
)

// stormRows are the rows of the catalogue in a storm, besides losses of VFs. Many fail because of earlier ones, which
// is fine.
func stormRows() []faults.Fault {
	return slices.DeleteFunc(faults.Rows(), func(f faults.Fault) bool { return len(f.Steps) != 1 || f.Paused || f.OwnMACs })
}

const (
	stormFaults = 36
	stormKill   = stormFaults / 3
	stormStart  = 2 * stormFaults / 3
)

// storm breaks both pods at random; it kills the agent in the middle and starts it again before the end.
func storm(ctx context.Context, s *faultRun) error {
	if s.r.agent == nil {
		return errors.New("this fault needs an agent")
	}
	seed := uint64(time.Now().UnixNano())  //nolint:gosec // any number will do
	dice := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // no secret
	lost := map[string]bool{}
	err := s.fault(fmt.Sprintf("%d faults of all kinds in both pods (seed %d)", stormFaults, seed), func() error {
		for i := range stormFaults {
			if err := s.strike(ctx, dice, lost); err != nil {
				return err
			}
			switch i {
			case stormKill:
				s.logf("the agent is killed (SIGKILL)")
				if err := s.r.stopAgent(ctx, unix.SIGKILL); err != nil {
					return err
				}
			case stormStart:
				s.logf("the agent is started again")
				if err := s.r.useAgent(ctx); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if _, err = s.sees(ctx, "a loss", Line.isLoss); err != nil {
		return err
	}
	err = s.giveBack("the storm is over", func() error {
		for vf := range lost {
			if err = bindVF(vf); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.awaitRecovery(ctx, s.r.Pods()...)
}

// strike makes one fault. away are the VFs without a driver.
func (s *faultRun) strike(ctx context.Context, dice *rand.Rand, lost map[string]bool) error {
	p := s.r.Pods()[dice.IntN(2)]
	rows := stormRows()
	if choice := dice.IntN(len(rows) + 4); choice < len(rows) {
		if row := rows[choice]; !s.insists(p, row.Setting) {
			_ = row.Steps[0].Do(p.bond(), dice.IntN(2))
		}
		return ctx.Err()
	}
	vf := p.members[dice.IntN(2)].pci
	if lost[vf] {
		delete(lost, vf)
		return bindVF(vf)
	}
	lost[vf] = true
	return unbindVF(vf)
}

// insists reports whether a requested setting of a pod was changed twice already. The agent adopts the value of a
// writer that changes it back three times within a minute; the pod would then not be as before.
func (s *faultRun) insists(p *Pod, setting string) bool {
	if setting == "" {
		return false
	}
	if s.changed == nil {
		s.changed = map[string]int{}
	}
	s.changed[p.Name+" "+setting]++
	return s.changed[p.Name+" "+setting] > 2
}

// restart stops and starts the agent while ip monitor runs.
func restart(ctx context.Context, s *faultRun) error {
	if s.r.agent == nil {
		return errors.New("this fault needs an agent")
	}
	if err := s.quiet(ctx, 3*time.Second); err != nil {
		return err
	}
	place := s.r.monitor.events.len()
	err := s.fault("the agent is stopped (SIGTERM) and started again", func() error {
		if err := s.r.stopAgent(ctx, unix.SIGTERM); err != nil {
			return err
		}
		return s.r.useAgent(ctx, "--resync", "2s", "--log-level", "debug")
	})
	if err != nil {
		return err
	}
	for _, cause := range []string{"start", "resync"} {
		for range 2 {
			if _, err = s.sees(ctx, "a look because of "+cause, func(l Line) bool { return l.Msg == "reconcile requested" && l.Cause == cause }); err != nil {
				return err
			}
		}
	}
	// A reconcile of all bonds ends before the next resync begins.
	resyncs := func(l Line) bool { return l.Msg == "reconcile requested" && l.Cause == "resync" }
	for s.count(resyncs) < 2*len(s.r.Pods()) {
		if _, _, err = s.r.log.await(ctx, s.r.log.len(), resyncs); err != nil {
			return err
		}
	}
	changes, err := s.mark(ctx, place)
	if err != nil {
		return err
	}
	if len(changes) > 0 {
		return fmt.Errorf("the kernel changed %d times:\n  %s", len(changes), strings.Join(changes, "\n  "))
	}
	if n := s.count(func(l Line) bool { return l.Msg == "applied" || l.isLoss() }); n > 0 {
		return fmt.Errorf("the agent wrote %d lines of losses or changes, want none", n)
	}
	s.logf("it has looked at every bond, twice more by resync; ip monitor shows no change")
	s.result.Detected, s.result.Outcome = 0, "no change"
	return nil
}

// overrun stops the agent and floods its socket; it misses the events of what breaks afterwards.
func overrun(ctx context.Context, s *faultRun) error {
	p := s.r.A
	var flood strings.Builder
	flood.WriteString("link add flood0 type dummy\n")
	for i := range 300 {
		fmt.Fprintf(&flood, "link set flood0 mtu %d\n", 1000+i)
	}
	flood.WriteString("link del flood0\n")
	err := s.fault("the agent is stopped (SIGSTOP); 300 changes of a link of the host; net1 released; the agent goes on", func() error {
		return s.paused(func() error {
			return errors.Join(ipBatch(ctx, "", flood.String()), ip(ctx, "-n %s link set net1 nomaster", p.Name))
		})
	})
	if err != nil {
		return err
	}
	if _, err = s.sees(ctx, "a report of lost events", func(l Line) bool { return l.Msg == "watch error" && strings.Contains(l.Raw, "events were lost") }); err != nil {
		return err
	}
	s.result.Detected = 0
	if err = s.seesLoss(ctx, p); err != nil {
		return err
	}
	if err = s.awaitRecovery(ctx, p); err != nil {
		return err
	}
	if err = s.r.stopAgent(ctx, unix.SIGTERM); err != nil {
		return err
	}
	end, err := s.sees(ctx, "the agent's counters", func(l Line) bool { return l.Msg == "agent stopped" })
	if err != nil {
		return err
	}
	if end.Overruns == 0 {
		return errors.New("the agent counted no overrun")
	}
	s.logf("it counted %d overrun", end.Overruns)
	s.result.Outcome = "counted, healed"
	return nil
}

// twoAgents starts a second agent, breaks a bond, and stops the first agent.
func twoAgents(ctx context.Context, s *faultRun) error {
	first := s.r.agent
	if first == nil {
		return errors.New("this fault needs an agent")
	}
	second, err := startAgent(filepath.Join(s.r.cfg.Bin, "agent"), &s.r.log)
	if err != nil {
		return err
	}
	defer func() {
		if s.r.agent != second {
			_ = second.end(ctx, unix.SIGKILL)
		}
	}()
	if _, _, err := s.r.log.await(ctx, 0, func(l Line) bool { return strings.HasPrefix(l.Msg, "another agent is running") }); err != nil {
		return errWaited("the second agent's report", err)
	}
	s.logf("a second agent starts, reports the first one, and waits")
	if err := s.row(ctx, "member released (nomaster)"); err != nil {
		return err
	}
	place := s.r.log.len()
	s.logf("the first agent ends")
	if err := first.end(ctx, unix.SIGTERM); err != nil {
		return err
	}
	s.r.agent = second
	if err := s.r.awaitReconciled(ctx, place); err != nil {
		return err
	}
	s.logf("the second has taken over")
	if err := s.row(ctx, "member released (nomaster)"); err != nil {
		return err
	}
	s.result.Outcome = "waited, then took over"
	return nil
}
