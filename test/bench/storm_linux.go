package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// storm measures how long it takes until all of many bonds that lost a member at once have recovered. The agent is
// stopped while the members are released, so that all losses are there at once when it continues. The loop sends one
// message per bond, one after the other, and has everything at hand; the agent is stopped meanwhile.
func storm(ctx context.Context, o *options) (r *report, err error) {
	guest, err := topology.Load()
	if err != nil {
		return nil, err
	}
	f := newFleet(o)
	defer func() { err = errors.Join(err, f.end()) }()
	if err = f.grow(ctx, o.storm); err != nil {
		return nil, err
	}
	a, err := startAgent(ctx, o)
	if err != nil {
		return nil, err
	}
	defer a.stop()
	if _, err = a.allReady(ctx, o.storm); err != nil {
		return nil, err
	}
	pods, err := watchAll(f)
	defer func() {
		for _, p := range pods {
			err = errors.Join(err, p.close())
		}
	}()
	if err != nil {
		return nil, err
	}
	s := &stormRun{agent: a, pods: pods}
	for range o.storms {
		if err = s.round(ctx); err != nil {
			return nil, fmt.Errorf("%w\n%s", err, a.log.String())
		}
	}
	return s.report(guest), nil
}

func watchAll(f *fleet) (pods []*watchedPod, err error) {
	for _, path := range f.pods {
		p, err := watchPod(path)
		if err != nil {
			return pods, err
		}
		pods = append(pods, p)
	}
	return pods, nil
}

// stormRun has the samples of all rounds.
type stormRun struct {
	agent *agent
	pods  []*watchedPod
	// all: until the last bond has recovered. cpu: processor time until idle.
	all, floor, cpu, floorCPU samples
}

// round lets loop and agent repair all bonds once.
func (s *stormRun) round(ctx context.Context) error {
	if err := s.lose(ctx); err != nil {
		return err
	}
	used, began := ownProcessorTime(), time.Now()
	for _, p := range s.pods {
		if err := p.enslave(); err != nil {
			return fmt.Errorf("enslave: %w", err)
		}
	}
	s.floor, s.floorCPU = append(s.floor, time.Since(began)), append(s.floorCPU, ownProcessorTime()-used)
	if err := s.proceed(ctx); err != nil {
		return err
	}
	if err := s.lose(ctx); err != nil {
		return err
	}
	agentUsed := s.agent.processorTime()
	began = time.Now()
	if err := s.agent.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	var last time.Time
	for _, p := range s.pods {
		at, err := p.recovered(ctx)
		if err != nil {
			return err
		}
		last = at
	}
	s.all = append(s.all, last.Sub(began))
	_, err := s.agent.awaitIdle(ctx)
	s.cpu = append(s.cpu, s.agent.processorTime()-agentUsed)
	return err
}

// lose stops the agent and releases a member of each bond.
func (s *stormRun) lose(ctx context.Context) error {
	if _, err := s.agent.awaitIdle(ctx); err != nil {
		return err
	}
	if err := s.agent.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for _, p := range s.pods {
		if err := p.release(ctx); err != nil {
			return err
		}
	}
	return nil
}

// proceed continues the agent and waits until it has read all events.
func (s *stormRun) proceed(ctx context.Context) error {
	if err := s.agent.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	_, err := s.agent.awaitIdle(ctx)
	return err
}

func (s *stormRun) report(guest *topology.Topology) *report {
	n := len(s.pods)
	r := &report{
		title: fmt.Sprintf("Storm: %d bonds of two dummy links lose a member each at once, until all have recovered", n),
		head:  []string{"", "all recovered, ms", "ratio", "per bond, ms", "processor time, ms", "ratio"},
		plot:  &plot{title: fmt.Sprintf("From the loss of a member of %d bonds until all have recovered; medians in red", n), rows: []plotRow{{"agent", s.all}, {"serial loop that knows all", s.floor}}},
	}
	for _, row := range []struct {
		name     string
		all, cpu samples
	}{{"serial loop that knows all", s.floor, s.floorCPU}, {"agent", s.all, s.cpu}} {
		r.add(row.name, millis(row.all.median()), ratio(row.all.median(), s.floor.median()), millis(row.all.median()/time.Duration(n)),
			millis(row.cpu.median()), ratio(row.cpu.median(), s.floorCPU.median()))
	}
	r.remarks = append(r.remarks, fmt.Sprintf("Medians of %d rounds, alternating; Linux %s under %s, %s. The agent's processor time is until it is idle again.",
		len(s.all), guest.Kernel, guest.Accel, processors()))
	return r
}

// ownProcessorTime is what this process has used.
func ownProcessorTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
