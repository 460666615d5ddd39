package heal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/test/faults"
	"github.com/bondkeeper/bondkeeper/test/sriovstub"
)

// Obstacles block one bond's repair and must not delay another's. The agent has one worker.
func Obstacles() []Fault {
	oneWorker := []string{"--workers", "1"}
	return []Fault{
		{Name: "VF lock held by another process", Expect: "another bond repaired meanwhile, this one afterwards", Agent: oneWorker, run: lockedVF},
		{Name: "card busy with sriov_numvfs", Expect: "a bond on the other card repaired meanwhile", Agent: oneWorker, Needs: faults.Needs{VFSettings: true}, run: busyCard},
		{Name: "repairs undone ten times a second", Expect: "limited, reported, another bond repaired meanwhile, this one afterwards", Agent: oneWorker, run: fight},
	}
}

// lockedVF holds sriov-cni's lock on a VF, as its DEL does.
func lockedVF(ctx context.Context, s *faultRun) error {
	a, vf := s.r.A, s.r.A.members[0].pci
	unlock, err := lockVF(vf)
	if err != nil {
		return err
	}
	defer unlock()
	err = s.fault("another process holds the lock of net1's VF ("+vf+"), which is lost and comes back to the host", func() error {
		return errors.Join(unbindVF(vf), bindVF(vf))
	})
	if err != nil {
		return err
	}
	busy, err := s.sees(ctx, "a report of the lock", func(l Line) bool {
		return l.Msg == "bond state changed" && a.is(l) && strings.Contains(l.Reason, "another process is changing that VF")
	})
	if err != nil {
		return err
	}
	s.logf("reported: %s", busy.Reason)
	if err = s.memberLostAndBack(ctx, s.r.B, 1); err != nil {
		return err
	}
	s.logf("pod %s was repaired meanwhile", s.r.B.Name)
	if n := s.count(func(l Line) bool { return l.Msg == "applied" && a.is(l) && strings.Contains(l.Action, vf) }); n > 0 {
		return fmt.Errorf("the agent changed the VF %d times while another process had its lock", n)
	}
	if err := s.giveBack("the lock is free", func() error { unlock(); return nil }); err != nil {
		return err
	}
	s.result.Outcome = "waited, healed"
	return s.awaitRecovery(ctx, a)
}

// lockVF takes sriov-cni's lock on a VF. unlock may be called twice.
func lockVF(pci string) (unlock func(), err error) {
	dir := filepath.Join(sriovstub.DefaultDir, "pci", "vf_lock")
	if err = os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, pci+".lock"), os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err = unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return sync.OnceFunc(func() {
		_ = f.Close()
		_ = os.RemoveAll(sriovstub.DefaultDir) // another plugin attached the pods' VFs
	}), nil
}

// busyCard recreates a card's VFs in a loop until a member on the other card was lost and repaired.
func busyCard(ctx context.Context, s *faultRun) error {
	c, rounds := s.r.cards[0], 0
	err := s.fault("sriov_numvfs of "+c.PF.PCI+" is written until a loss on the other card is repaired", func() error {
		return s.until(ctx, func() error {
			rounds++
			return errors.Join(c.setNumVFs(0), c.setNumVFs(len(c.VFs)))
		}, func() error {
			// The VF is in the host, but its PF does not list it until the last VF has its driver.
			_, err := s.sees(ctx, "a report that the PF is busy", func(l Line) bool {
				return l.Msg == "bond state changed" && s.r.A.is(l) && strings.Contains(l.Reason, "does not report the VF yet")
			})
			if err != nil {
				return err
			}
			return s.memberLostAndBack(ctx, s.r.B, 1)
		})
	})
	if err != nil {
		return err
	}
	s.logf("repaired during round %d", rounds)
	s.result.Outcome = "repaired meanwhile"
	return s.awaitRecovery(ctx, s.r.Pods()...)
}

// until repeats something until do, which runs concurrently, has returned.
func (s *faultRun) until(ctx context.Context, repeat, do func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var work sync.WaitGroup
	var failed error
	work.Go(func() {
		for ctx.Err() == nil && failed == nil {
			failed = repeat()
		}
	})
	err := do()
	cancel()
	work.Wait()
	return errors.Join(err, failed)
}

// fight releases one member and sets the other down, ten times a second.
func fight(ctx context.Context, s *faultRun) error {
	seconds := s.r.cfg.scaled(6, 60)
	err := s.fault(fmt.Sprintf("net1 is released and net2 set down, ten times a second for %d s", seconds), func() error {
		n, err := s.storm(ctx, seconds, func() error { return s.inA(ctx, "link set net1 nomaster", "link set net2 down") }, s.bothFought)
		s.logf("%d times", n)
		return err
	})
	if err != nil {
		return err
	}
	if err := s.fought(); err != nil {
		return err
	}
	if fighting, err := metric(ctx, "bondkeeper_bonds_fighting"); err != nil || fighting != "1" {
		return fmt.Errorf("bonds whose repairs are limited: %s, want 1: %w", fighting, err)
	}
	if err := s.awaitRecovery(ctx, s.r.Pods()...); err != nil {
		return err
	}
	s.result.Outcome = "limited, reported, healed"
	return nil
}

const limited = "repairs limited: another writer keeps undoing them"

// bothFought waits until the repairs of both members of pod A were reported as undone. How many rounds that takes
// depends on the machine.
func (s *faultRun) bothFought(ctx context.Context) error {
	first, err := s.sees(ctx, "repairs of a member reported as undone", func(l Line) bool { return s.r.A.is(l) && l.Msg == limited })
	if err != nil {
		return err
	}
	_, err = s.sees(ctx, "repairs of the other member reported as undone", func(l Line) bool {
		return s.r.A.is(l) && l.Msg == limited && l.What != first.What
	})
	return err
}

// The engine repairs three times at once, then ten times per minute.
const fightBurst, fightsPerMinute = 3, 10

// fought checks that repairs of pod A were limited during a fight, and that each kind was reported once, and then once
// per minute. A reconcile whose action was undone at once may repeat it.
func (s *faultRun) fought() error {
	seconds := int(time.Since(s.began).Seconds()) + 1
	repairs := 2 * (fightBurst + 1 + fightsPerMinute*seconds/60)
	applied, reports, lines := map[string]int{}, map[string]int{}, 0
	for _, l := range s.r.log.from(s.place) {
		if !s.r.A.is(l) {
			continue
		}
		lines++
		switch l.Msg {
		case "applied":
			kind, _, _ := strings.Cut(l.Action, " (")
			applied[kind]++
		case limited:
			reports[l.What]++
		}
	}
	s.logf("%d log lines; repairs %v; reports %v", lines, applied, reports)
	var errs []error
	for kind, n := range applied {
		if n > repairs {
			errs = append(errs, fmt.Errorf("%s: %d times in %d s, want at most %d", kind, n, seconds, repairs))
		}
	}
	for what, n := range reports {
		if n > 1+seconds/60 {
			errs = append(errs, fmt.Errorf("%s: %d reports in %d s", what, n, seconds))
		}
	}
	if len(reports) < 2 {
		errs = append(errs, fmt.Errorf("reported as undone: %v, want one kind for each member", reports))
	}
	if most := 4 * repairs * len(applied); lines > most {
		errs = append(errs, fmt.Errorf("%d log lines, want at most %d", lines, most))
	}
	return errors.Join(errs...)
}

// metric returns the value of a metric of the running agent.
func metric(ctx context.Context, name string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:9719/metrics", http.NoBody)
	if err != nil {
		return "", err
	}
	output, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = output.Body.Close() }()
	text, err := io.ReadAll(output.Body)
	if err != nil {
		return "", err
	}
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (.*)$`).FindSubmatch(text)
	if found == nil {
		return "", fmt.Errorf("the agent has no metric %s", name)
	}
	return string(found[1]), nil
}
