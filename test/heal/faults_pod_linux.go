package heal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// optionDrift changes an option that the kernel changes only on a bond without members. The agent is held
// meanwhile, for it would enslave the members again before the option is changed.
func optionDrift(ctx context.Context, s *faultRun) error {
	p := s.r.A
	if err := s.r.held(); err != nil {
		return err
	}
	err := s.fault("the agent is stopped (SIGSTOP); members released, fail_over_mac follow, members enslaved again; the agent goes on", func() error {
		err := ipBatch(ctx, p.Name, "link set net1 nomaster\nlink set net2 nomaster\nlink set bond0 type bond fail_over_mac follow\n"+
			"link set net1 down\nlink set net2 down\nlink set net1 master bond0\nlink set net2 master bond0\nlink set net1 up\nlink set net2 up\n")
		return errors.Join(err, s.r.agent.resume())
	})
	if err != nil {
		return err
	}
	stuck, err := s.sees(ctx, "Stuck", func(l Line) bool {
		return l.Msg == "bond state changed" && p.is(l) && l.State == "Stuck" && strings.Contains(l.Reason, "failOverMac")
	})
	if err != nil {
		return err
	}
	s.logf("the agent reports after %s: %s", short(s.result.Detected), stuck.Reason)
	if err = s.quiet(ctx, 2*time.Second); err != nil {
		return err
	}
	now, err := p.snapshot(ctx)
	if err != nil {
		return err
	}
	if now[BondName+" option fail_over_mac"] == "active" || now["net1 master"] != BondName || now["net2 master"] != BondName {
		return fmt.Errorf("the bond should have been left alone:\n  %s", strings.Join(now.diff(p.baseline), "\n  "))
	}
	if err := s.still(ctx, 3*time.Second); err != nil {
		return err
	}
	s.logf("and leaves the bond alone")
	// What the report says to do; to release the members by hand is a race with the agent.
	if err := s.giveBack("by hand: ip link del bond0", func() error { return ip(ctx, "-n %s link del bond0", p.Name) }); err != nil {
		return err
	}
	if err := s.awaitRecovery(ctx, p); err != nil {
		return err
	}
	s.result.Outcome = "reported, left alone"
	return nil
}

// held stops the agent where it is.
func (r *Fixture) held() error {
	if r.agent == nil {
		return errors.New("this fault needs an agent")
	}
	return r.agent.pause()
}

// impostor gives a dummy link the name of a lost VF.
func impostor(ctx context.Context, s *faultRun) error {
	p, vf := s.r.A, s.r.A.members[0].pci
	err := s.fault("igbvf lets go of net1 ("+vf+"), and the pod makes a dummy link net1", func() error {
		if err := unbindVF(vf); err != nil {
			return err
		}
		return ip(ctx, "-n %s link add net1 type dummy", p.Name)
	})
	if err != nil {
		return err
	}
	reported, err := s.sees(ctx, "a report of the decoy", func(l Line) bool {
		return l.Msg == "bond state changed" && p.is(l) && strings.Contains(l.Reason, `kind "dummy"`)
	})
	if err != nil {
		return err
	}
	s.logf("the agent reports after %s: %s", short(s.result.Detected), reported.Reason)
	if err = s.giveBack("igbvf takes the VF again", func() error { return bindVF(vf) }); err != nil {
		return err
	}
	tempName := ""
	_, err = s.r.until(ctx, p, func(now snapshot) []string {
		for name, value := range now {
			if link, ok := strings.CutSuffix(name, " pci"); ok && value == vf && now[link+" master"] == BondName && now[link+" MII status"] == "up" {
				tempName = link
				return nil
			}
		}
		return now.diff(p.baseline)
	})
	if err != nil {
		return fmt.Errorf("the VF under a temporary name: %w", err)
	}
	now, err := p.snapshot(ctx)
	if err != nil {
		return err
	}
	if tempName == net1 || now["net1 kind"] != "dummy" || now["net1 master"] != "" || now["net1 up"] != "false" {
		return fmt.Errorf("the decoy should not have been touched, and the VF not be called so:\n  %s", strings.Join(now.diff(p.baseline), "\n  "))
	}
	s.logf("the VF is in the bond as %s, the dummy is not", tempName)
	if err := s.giveBack("the pod deletes its dummy", func() error { return ip(ctx, "-n %s link del net1", p.Name) }); err != nil {
		return err
	}
	if err := s.awaitRecovery(ctx, p); err != nil {
		return err
	}
	s.result.Outcome = "reported, healed beside it"
	return nil
}

// netnsDeleted ends a third pod's netns while one of its VFs is away.
func netnsDeleted(ctx context.Context, s *faultRun) error {
	c := s.r.brief
	// Its VFs may have been reset with their card since the start.
	if err := c.prepareVFs(ctx); err != nil {
		return err
	}
	if err := c.add(ctx); err != nil {
		return err
	}
	if err := s.r.takeBaseline(ctx, c); err != nil {
		return err
	}
	lost, other := c.members[0].pci, c.members[1].pci
	err := s.fault("igbvf lets go of net1 ("+lost+") of a third pod, whose netns is then deleted", func() error { return unbindVF(lost) })
	if err != nil {
		return err
	}
	if err = s.seesLoss(ctx, c); err != nil {
		return err
	}
	if err = ip(ctx, "netns del %s", c.Name); err != nil {
		return err
	}
	if err = s.inHost(ctx, other); err != nil {
		return err
	}
	if err = s.giveBack("igbvf takes the VF again", func() error { return bindVF(lost) }); err != nil {
		return err
	}
	gone, err := s.sees(ctx, "that the netns is gone", func(l Line) bool {
		return l.Msg == "bond state changed" && c.is(l) && strings.Contains(l.Reason, "netns")
	})
	if err != nil {
		return err
	}
	s.logf("the agent reports: %s", gone.Reason)
	if err := s.quiet(ctx, 2*time.Second); err != nil {
		return err
	}
	// Two resyncs are in this window.
	before := s.count(c.is)
	if err := s.still(ctx, 8*time.Second); err != nil {
		return err
	}
	if n := s.count(c.is) - before; n > 0 {
		return fmt.Errorf("the agent wrote %d lines about a deleted pod, want none", n)
	}
	for _, vf := range []string{lost, other} {
		if _, err := topology.Netdev(vf); err != nil {
			return fmt.Errorf("the VF should be in the host: %w", err)
		}
	}
	s.logf("both VFs are in the host; the agent is quiet")
	if err := c.cniDel(ctx, okdConfig, BondName); err != nil {
		return err
	}
	if _, err := s.sees(ctx, "the end of the record", func(l Line) bool { return l.Msg == "bond record removed" && l.Bond == c.id+"@"+BondName }); err != nil {
		return err
	}
	s.result.Outcome = "VF in the host, agent quiet"
	return s.r.restoreNames(ctx)
}

// inHost waits until a VF's interface is in the host.
func (s *faultRun) inHost(ctx context.Context, vf string) error {
	for {
		seen := s.r.monitor.events.len()
		if _, err := topology.Netdev(vf); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		select {
		case <-s.r.monitor.events.next(seen):
		case <-ctx.Done():
			return errWaited("VF "+vf+" in the host", context.Cause(ctx))
		}
	}
}
