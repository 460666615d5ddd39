package heal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// Storms are faults that happen again and again.
func Storms(long bool) []Fault {
	faults := []Fault{
		{Name: "operator rebinds a VF that it does not see in the host", Expect: "reported, left in the host for the operator, then back", Agent: []string{"--flap-window", "30s"}, run: operator},
	}
	if !long {
		return faults
	}
	return append(faults, []Fault{
		{Name: "all VFs of a card lost and back, again and again", Expect: "back as before in both pods, each time", run: cardStorm},
		{Name: "PF flaps ten times a second", Expect: "reported, no change, another loss repaired meanwhile", run: flappingPF},
	}...)
}

// cardStorm deletes and recreates all VFs of a card repeatedly, by sriov_numvfs and by the PF's driver.
func cardStorm(ctx context.Context, s *faultRun) error {
	c := s.r.cards[0]
	for i := range 5 {
		s.logf("round %d", i+1)
		if err := s.row(ctx, "sriov_numvfs 0, then N"); err != nil {
			return fmt.Errorf("round %d, sriov_numvfs: %w", i+1, err)
		}
		if err := s.row(ctx, "PF driver unbind, bind, sriov_numvfs"); err != nil {
			return fmt.Errorf("round %d, driver of %s: %w", i+1, c.PF.PCI, err)
		}
	}
	s.result.Outcome = "healed each time"
	return nil
}

// tenPerSecond calls do ten times per second for a number of seconds, and until done is closed. It returns the number
// of calls.
func tenPerSecond(ctx context.Context, seconds int, done <-chan struct{}, do func() error) (n int, err error) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for end := time.Now().Add(time.Duration(seconds) * time.Second); ; n++ {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return n, context.Cause(ctx)
		}
		if time.Now().After(end) {
			select {
			case <-done:
				return n, nil
			default:
			}
		}
		if err := do(); err != nil {
			return n, err
		}
	}
}

// storm calls do ten times per second, for a number of seconds and at least until a lost member of pod B is repaired and
// seen has returned. It returns the number of calls.
func (s *faultRun) storm(ctx context.Context, seconds int, do func() error, seen func(context.Context) error) (n int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var work sync.WaitGroup
	var failed error
	done := make(chan struct{})
	work.Go(func() { n, failed = tenPerSecond(ctx, seconds, done, do) })
	err = s.memberLostAndBack(ctx, s.r.B, 1)
	if err == nil {
		s.logf("a member of pod %s was lost and repaired meanwhile", s.r.B.Name)
		err = seen(ctx)
	}
	if err == nil {
		close(done)
	} else {
		cancel()
	}
	work.Wait()
	return n, errors.Join(err, failed)
}

func nothing(context.Context) error { return nil }

// flappingPF sets a PF down and up ten times per second. Its VFs have no carrier meanwhile, which the agent must not
// try to repair.
func flappingPF(ctx context.Context, s *faultRun) error {
	const seconds = 60
	c := s.r.cards[0]
	name, err := c.pf()
	if err != nil {
		return err
	}
	err = s.fault(fmt.Sprintf("PF %s is set down and up ten times a second for %d s", name, seconds), func() error {
		_, failed := s.storm(ctx, seconds, func() error { return ipBatch(ctx, "", fmt.Sprintf("link set %s down\nlink set %s up\n", name, name)) }, nothing)
		return failed
	})
	if err != nil {
		return err
	}
	isA := func(msg string) func(Line) bool { return func(l Line) bool { return s.r.A.is(l) && l.Msg == msg } }
	if n := s.count(isA("applied")); n > 0 {
		return fmt.Errorf("the agent changed pod %s %d times during the storm, want none", s.r.A.Name, n)
	}
	// The state stays Degraded; the reason changes with the PF's carrier.
	if n := s.count(isA("bond state changed")); n > seconds/2 {
		return fmt.Errorf("the agent logged %d reports about pod %s in %d s", n, s.r.A.Name, seconds)
	}
	if err := s.undoFailover(ctx); err != nil {
		return err
	}
	// A VF that has no carrier 15 s after its PF's has returned is set down and up once.
	if n := s.count(func(l Line) bool { return isA("applied")(l) && strings.HasPrefix(l.Action, "bounce") }); n > 1 {
		return fmt.Errorf("the agent bounced the VF of pod %s %d times, want once at most", s.r.A.Name, n)
	}
	s.result.Outcome = "reported, left alone"
	return s.awaitRecovery(ctx, s.r.Pods()...)
}

// operator waits until a VF is in the host, and rebinds its driver if the VF does not appear in time, as
// sriov-network-operator does while it applies a policy (VFIsReady and RebindVfToDefaultDriver in its
// pkg/host/internal). It first checks one period after the rebind, which is the worst case: the real one checks at
// once.
func operator(ctx context.Context, s *faultRun) error {
	vf, unit := s.r.A.members[0].pci, time.Duration(s.r.cfg.scaled(200, 1000))*time.Millisecond
	const periods, maxRebinds = 10, 10
	rebinds := 0
	err := s.fault(fmt.Sprintf("an operator rebinds %s whenever it does not see it in the host for %s", vf, periods*unit), func() error {
		for ; ; rebinds++ {
			found, err := inHostWithin(ctx, vf, unit, periods)
			if err != nil || found {
				return err
			}
			if rebinds == maxRebinds {
				return fmt.Errorf("the operator has rebound the VF %d times and continues", rebinds)
			}
			if err := errors.Join(unbindVF(vf), bindVF(vf)); err != nil {
				return err
			}
		}
	})
	if err != nil {
		return err
	}
	s.logf("the operator sees the VF after %d rebinds", rebinds)
	s.result.Outcome = fmt.Sprintf("operator done after %d rebinds", rebinds)
	if rebinds < heldRebinds { // on a busy machine the operator is faster than the agent
		return s.awaitRecovery(ctx, s.r.A)
	}
	l, err := s.sees(ctx, "a report of repeated losses", func(l Line) bool {
		return l.Msg == "bond state changed" && s.r.A.is(l) && strings.Contains(l.Reason, "keeps being lost again")
	})
	if err != nil {
		return err
	}
	s.logf("reported: %s", l.Reason)
	s.result.Outcome = "reported, " + s.result.Outcome
	return s.awaitRecovery(ctx, s.r.A)
}

// heldRebinds is the number of quick losses after which a VF is held back.
const heldRebinds = 3

// inHostWithin checks for a VF's link in the host a number of times, one unit apart.
func inHostWithin(ctx context.Context, pci string, unit time.Duration, times int) (bool, error) {
	ticker := time.NewTicker(unit)
	defer ticker.Stop()
	for range times {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
		switch _, err := topology.Netdev(pci); {
		case err == nil:
			return true, nil
		case !errors.Is(err, fs.ErrNotExist):
			return false, err
		}
	}
	return false, nil
}
