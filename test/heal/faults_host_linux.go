package heal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

const (
	// hostName is what the host's rules call net1's VF. hostAddress is given to it there.
	hostName, hostAddress = "enp1s16", "169.254.7.7/16"
	// unboundDriver is how long a VF has no driver before it is bound.
	unboundDriver = 3 * time.Second
)

// configureInHost renames a VF in the host, sets it up and gives it an address, as udev and a network manager do. What
// fails, because the agent has moved the VF or has it in work, is ignored.
func configureInHost(ctx context.Context, pci string) {
	name, err := topology.Netdev(pci)
	if err != nil {
		return // it is not in the host, or not yet
	}
	for _, line := range []string{
		"link set dev " + name + " name " + hostName, "link set dev " + hostName + " up", "address replace " + hostAddress + " dev " + hostName,
	} {
		_ = ip(ctx, "%s", line)
	}
}

// configuredByHost brings net1's VF back to a host whose programs configure it: first before the agent reads it, then
// again and again in a race with the agent.
func configuredByHost(ctx context.Context, s *faultRun) error {
	p, vf := s.r.A, s.r.A.members[0].pci
	err := s.fault("net1 ("+vf+") returns, and is renamed, set up and addressed in the host; the agent is stopped (SIGSTOP) meanwhile", func() error {
		return s.paused(func() error {
			if err := errors.Join(unbindVF(vf), bindVF(vf)); err != nil {
				return err
			}
			configureInHost(ctx, vf)
			name, err := topology.Netdev(vf)
			if name != hostName {
				err = errors.Join(err, fmt.Errorf("the VF is in the host as %q", name))
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	if err = s.lostAndRecovered(ctx, p); err != nil {
		return err
	}
	racing, stop := context.WithCancel(ctx)
	defer stop()
	var host sync.WaitGroup
	host.Go(func() {
		for racing.Err() == nil {
			configureInHost(racing, vf)
		}
	})
	for i := 0; i < 3 && err == nil; i++ {
		err = s.fault("it returns again, and the host configures it all the time", func() error {
			return errors.Join(unbindVF(vf), bindVF(vf))
		})
		if err == nil {
			err = s.lostAndRecovered(ctx, p)
		}
	}
	stop()
	host.Wait()
	return err
}

// lostAndRecovered waits for the report of a loss, and until the pod is as before.
func (s *faultRun) lostAndRecovered(ctx context.Context, p *Pod) error {
	if err := s.seesLoss(ctx, p); err != nil {
		return err
	}
	return s.awaitRecovery(ctx, p)
}

// boundLate creates a card's VFs without drivers, which are bound seconds later: until then they have no link.
func boundLate(ctx context.Context, s *faultRun) error {
	p, c := s.r.A, s.r.cards[s.r.A.members[0].card]
	autoprobe := filepath.Join(pciDevices, c.PF.PCI, "sriov_drivers_autoprobe")
	err := s.fault("sriov_numvfs becomes 0 and then as before, without drivers", func() error {
		return errors.Join(write(autoprobe, "0"), c.setNumVFs(0), c.setNumVFs(len(c.VFs)), write(autoprobe, "1"))
	})
	if err != nil {
		return errors.Join(err, write(autoprobe, "1"))
	}
	if err = s.seesLoss(ctx, s.r.Pods()...); err != nil {
		return err
	}
	l, err := s.sees(ctx, "the reason", func(l Line) bool {
		return l.Msg == "bond state changed" && p.is(l) && strings.Contains(l.Reason, "no driver bound")
	})
	if err != nil {
		return err
	}
	s.logf("the agent reports: %s", l.Reason)
	if err = s.quiet(ctx, unboundDriver); err != nil {
		return err
	}
	err = s.giveBack("the drivers are bound", func() (err error) {
		for _, vf := range c.VFs {
			err = errors.Join(err, bindVF(vf.PCI))
		}
		return err
	})
	if err != nil {
		return err
	}
	return s.awaitRecovery(ctx, s.r.Pods()...)
}
