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

// netnsDeleted deletes a third pod's netns while one of its VFs is away.
func netnsDeleted(ctx context.Context, s *faultRun) error {
	c := s.r.brief
	// The VFs may have been reset with their card since the start.
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
	err := s.fault("its driver lets go of net1 ("+lost+") of a third pod, whose netns is then deleted", func() error { return unbindVF(lost) })
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
	if err = s.giveBack("its driver takes the VF again", func() error { return bindVF(lost) }); err != nil {
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
	// This window contains two resyncs.
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
