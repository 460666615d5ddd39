package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// cards measures how long it takes until all VFs of a PF that come back at once are in their bonds again. The loop moves
// each with its MAC, and enslaves it, as soon as its netdev is reported, one after the other; the agent is stopped
// meanwhile.
func cards(ctx context.Context, o *options) (r *report, err error) {
	guest, err := topology.Load()
	if err != nil {
		return nil, err
	}
	s := &cardStorm{guest: guest}
	defer func() {
		for _, p := range s.pods {
			err = errors.Join(err, p.end())
		}
	}()
	for i := range guest.Cards[0].VFs {
		if err = s.add(ctx, o, i); err != nil {
			return nil, err
		}
	}
	if s.agent, err = startAgent(ctx, o); err != nil {
		return nil, err
	}
	defer s.agent.stop()
	if _, err = s.agent.allReady(ctx, len(s.pods)); err != nil {
		return nil, err
	}
	for range o.storms {
		if err = s.round(ctx); err != nil {
			return nil, fmt.Errorf("%w\n%s", err, s.agent.log.String())
		}
	}
	return s.report(), nil
}

type cardStorm struct {
	guest *topology.Topology
	agent *agent
	pods  []*bondedPod
	// all: until the last VF is in its bond. cpu is the agent's until it is idle.
	all, floor, cpu samples
}

// add makes the pod with the VF of that number of each card.
func (s *cardStorm) add(ctx context.Context, o *options, number int) error {
	p, err := newBondedPod(ctx, o, s.guest, fmt.Sprint("card", number), number, true)
	if err != nil {
		return err
	}
	s.pods = append(s.pods, p)
	vf, err := p.pod.links.LinkByName("net1")
	if err == nil {
		p.mac = vf.Attrs().HardwareAddr // which new VFs do not have
	}
	return err
}

// round lets loop and agent repair all bonds once.
func (s *cardStorm) round(ctx context.Context) error {
	if _, err := s.agent.awaitIdle(ctx); err != nil {
		return err
	}
	if err := s.agent.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	took, err := s.storm(ctx, true)
	if err != nil {
		return fmt.Errorf("loop: %w", err)
	}
	s.floor = append(s.floor, took)
	if err = s.agent.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	if _, err = s.agent.awaitIdle(ctx); err != nil {
		return err
	}
	used := s.agent.processorTime()
	if took, err = s.storm(ctx, false); err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	s.all = append(s.all, took)
	_, err = s.agent.awaitIdle(ctx)
	s.cpu = append(s.cpu, s.agent.processorTime()-used)
	return err
}

// storm removes all VFs of the first card and makes them again. It returns how long it took from the first netdev in
// the host until all VFs are in their bonds.
func (s *cardStorm) storm(ctx context.Context, byLoop bool) (time.Duration, error) {
	pf := s.guest.Cards[0].PF.PCI
	if err := (kit.Links{}).SetNumVFs(pf, 0); err != nil {
		return 0, err
	}
	for _, p := range s.pods {
		if err := p.awaitLoss(ctx); err != nil {
			return 0, err
		}
	}
	made := make(chan error, 1)
	go func() { made <- (kit.Links{}).SetNumVFs(pf, len(s.pods)) }()
	var began time.Time
	seen := map[bond.PCIAddress]bool{}
	for len(seen) < len(s.pods) {
		u, err := await(ctx, s.pods[0].seen, func(u netlink.LinkUpdate) bool {
			pci := bond.PCIAddress(u.Attrs().ParentDev)
			return u.Header.Type == unix.RTM_NEWLINK && s.podOf(pci) != nil && !seen[pci]
		})
		if err != nil {
			return 0, fmt.Errorf("VFs in the host: %w", err)
		}
		if began.IsZero() {
			began = time.Now()
		}
		pci := bond.PCIAddress(u.Attrs().ParentDev)
		seen[pci] = true
		if byLoop {
			if err = s.podOf(pci).put(u.Attrs().Index); err != nil {
				return 0, err
			}
		}
	}
	for _, p := range s.pods {
		if _, err := await(ctx, p.links, isBack(p.bond)); err != nil {
			return 0, fmt.Errorf("net1 in the bond of %s: %w", p.name, err)
		}
	}
	return time.Since(began), <-made
}

func (s *cardStorm) podOf(vf bond.PCIAddress) *bondedPod {
	for _, p := range s.pods {
		if p.lost == vf {
			return p
		}
	}
	return nil
}

func (s *cardStorm) report() *report {
	n := len(s.pods)
	r := &report{
		title: fmt.Sprintf("Storm: all %d VFs of a PF come back at once, until all are in their bonds", n),
		head:  []string{"", "all recovered, ms", "ratio", "processor time, ms"},
		plot: &plot{title: fmt.Sprintf("From the first netdev in the host until all %d VFs of a PF are in their bonds; medians in red", n),
			rows: []plotRow{{"agent", s.all}, {"serial loop that knows all", s.floor}}},
	}
	r.add("serial loop that knows all", millis(s.floor.median()), ratio(s.floor.median(), s.floor.median()), "–")
	r.add("agent", millis(s.all.median()), ratio(s.all.median(), s.floor.median()), millis(s.cpu.median()))
	r.remarks = append(r.remarks, fmt.Sprintf("Medians of %d rounds, alternating; Linux %s under %s, %s. The time that the driver needs for the VFs is in both.",
		len(s.all), s.guest.Kernel, s.guest.Accel, processors()))
	return r
}
