package heal

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

// Neighbours are pods that cause events at full speed beside a bond that needs repair.
func Neighbours(long bool) []Fault {
	faults := []Fault{{Name: "events at full speed", Expect: "other bonds repaired, host untouched", run: fullSpeed}}
	if long {
		faults = append(faults, Fault{Name: "time of a repair beside a hostile pod", Expect: "printed", run: compare})
	}
	return faults
}

// floods are changes that a pod makes at full speed, by kind. The lines of a kind are repeated.
var floods = map[string][]string{
	"link events":      {"link set flood0 mtu 1400", "link set flood0 mtu 1300"},
	"addresses":        {"address add 192.0.2.1/32 dev flood0", "address del 192.0.2.1/32 dev flood0"},
	"routes":           {"route add 198.51.100.0/24 dev flood0", "route del 198.51.100.0/24 dev flood0"},
	"aliases":          {"link set net1 alias one", "link set net1 alias two"},
	"renames":          {"link set net1 name other1", "link set other1 name net1"},
	"members released": {"link set net1 nomaster", "link set net2 nomaster"},
}

// fullSpeed repairs a member of pod B while pod A causes link and address events that do not concern the agent.
func fullSpeed(ctx context.Context, s *faultRun) error {
	others, err := s.watchOthers(ctx)
	if err != nil {
		return err
	}
	err = s.fault("pod A changes links and addresses at full speed", func() error {
		return s.beside(ctx, []string{"link events", "addresses", "routes", "aliases"}, func() error {
			return s.memberLostAndBack(ctx, s.r.B, 1)
		})
	})
	if err != nil {
		return err
	}
	if n := s.count(func(l Line) bool { return s.r.A.is(l) }); n > 0 {
		return fmt.Errorf("the agent logged %d lines about pod %s, want none", n, s.r.A.Name)
	}
	s.result.Outcome = "others repaired"
	return errors.Join(s.awaitRecovery(ctx, s.r.Pods()...), others.untouched(ctx))
}

// beside runs do while pod A makes changes at full speed, with one process per kind.
func (s *faultRun) beside(ctx context.Context, kinds []string, do func() error) error {
	if err := s.inA(ctx, "link add flood0 type dummy", "link set flood0 up"); err != nil {
		return err
	}
	flooding, stop := context.WithCancel(ctx)
	defer stop()
	var work sync.WaitGroup
	for _, kind := range kinds {
		lines := strings.Repeat(strings.Join(floods[kind], "\n")+"\n", 1000)
		work.Go(func() {
			for flooding.Err() == nil {
				cmd := exec.CommandContext(flooding, "ip", "-n", s.r.A.Name, "-force", "-batch", "-") //nolint:gosec // the test's own names
				cmd.Stdin = strings.NewReader(lines)
				_ = cmd.Run() // some lines fail, and the last run is killed
			}
		})
	}
	err := do()
	stop()
	work.Wait()
	return errors.Join(err, s.inA(context.WithoutCancel(ctx), "link del flood0"))
}

// samples is how often a repair is measured in each case.
const samples = 5

// compare prints how long the repair of a member of pod B takes beside a quiet and beside a hostile pod A. It also
// prints how long ip(8) takes for such changes in a netns of its own: the kernel makes one change at a time (RTNL).
func compare(ctx context.Context, s *faultRun) error {
	if err := s.fault("pod A is quiet, and then hostile", func() error { return nil }); err != nil {
		return err
	}
	var repair, bare time.Duration
	for _, c := range []struct {
		name  string
		kinds []string
		links int
	}{
		{"quiet", nil, 0}, {"quiet again", nil, 0}, {"link events", []string{"link events"}, 0}, {"addresses", []string{"addresses"}, 0},
		{"routes", []string{"routes"}, 0}, {"renames", []string{"renames"}, 0}, {"members released", []string{"members released"}, 0},
		{"10,000 links", nil, 10_000}, {"10,000 links and link events", []string{"link events"}, 10_000},
	} {
		r, b, err := s.measure(ctx, c.kinds, c.links)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if repair == 0 {
			repair, bare = r, b
		}
		s.logf("%-30s repair %7s (%.1f times), ip %7s (%.1f times)", c.name, short(r), float64(r)/float64(repair), short(b), float64(b)/float64(bare))
	}
	s.result.Outcome = "printed"
	return s.awaitRecovery(ctx, s.r.Pods()...)
}

// measure returns the median times of a repair and of ip(8), beside what pod A does and has.
func (s *faultRun) measure(ctx context.Context, kinds []string, links int) (repair, bare time.Duration, err error) {
	if links > 0 {
		var undo func() error
		if undo, err = s.makeLinks(ctx, links); err != nil {
			return 0, 0, err
		}
		defer func() { _ = undo() }()
	}
	var repairs, bares []time.Duration
	err = s.beside(ctx, kinds, func() error {
		for range samples {
			r, failed := s.repairTime(ctx, s.r.B, 1)
			if failed != nil {
				return failed
			}
			b, failed := bareTime(ctx)
			if failed != nil {
				return failed
			}
			repairs, bares = append(repairs, r), append(bares, b)
		}
		return nil
	})
	return median(repairs), median(bares), err
}

// bareTime is how long ip(8) takes to move a link into a netns and into a bond there.
func bareTime(ctx context.Context) (time.Duration, error) {
	const ns = "bare0"
	if err := ipBatch(ctx, "", "netns add "+ns+"\nlink add bare0 type dummy\nlink add bare1 netns "+ns+" type bond mode active-backup miimon 100\n"); err != nil {
		return 0, err
	}
	began := time.Now()
	err := ipBatch(ctx, "", "link set bare0 netns "+ns+"\n")
	if err == nil {
		err = ipBatch(ctx, ns, "link set bare0 master bare1\nlink set bare0 up\nlink set bare1 up\n")
	}
	took := time.Since(began)
	return took, errors.Join(err, ip(ctx, "netns del %s", ns))
}

func median(all []time.Duration) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}
