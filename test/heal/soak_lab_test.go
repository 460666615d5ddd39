//go:build lab

package heal

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/walk"
)

// Environment variables that make soak sets.
const (
	soakTimeEnv   = "BONDKEEPER_SOAK"        // how long to walk; empty for one short walk
	soakSeedEnv   = "BONDKEEPER_SOAK_SEED"   // the only seed to walk
	soakStepsEnv  = "BONDKEEPER_SOAK_STEPS"  // the only steps to walk
	soakShrinkEnv = "BONDKEEPER_SOAK_SHRINK" // not empty: look for fewer steps that fail
)

const (
	soakLength      = 40 // steps of a walk
	soakReportEvery = 30 * time.Second
)

// soakShort is the walk of make test-lab.
const soakShort = "add 0 5; unbind 0 0 0; bond-del 0 0; rest; stop-agent; to-host 0 0 1; del 0 1; add-killed 1 9 20; rest"

// soakStored are walks that have failed before; they run first.
//
//go:embed testdata/walks.txt
var soakStored string

// TestSoak takes random walks over verbs and faults. Each starts on a clean node and is repeatable by its seed.
func TestSoak(t *testing.T) {
	kit.NeedVFSettings(t) // some of its VFs are attached by sriov-cni
	n, err := newSoakNode(t.Context(), *bin, func(text string) { t.Log(text) })
	if err == nil {
		err = n.linkTracer(t.TempDir())
	}
	kit.Must(t, err)
	defer func() {
		if closeErr := n.close(context.Background()); closeErr != nil {
			t.Error(closeErr)
		}
		t.Logf("soak: %s; %d failed", &n.count, map[bool]int{true: 1}[t.Failed()])
	}()
	s := &soak{t: t, n: n, ops: soakOps()}
	steps, seed, limit := os.Getenv(soakStepsEnv), os.Getenv(soakSeedEnv), os.Getenv(soakTimeEnv)
	switch {
	case steps != "":
		given, err := walk.Parse(s.ops, steps)
		kit.Must(t, err)
		s.try("given steps", given)
	case seed != "":
		number, err := strconv.ParseUint(seed, 10, 64)
		kit.Must(t, err)
		s.try("seed "+seed, s.draw(number))
	case limit != "":
		duration, err := time.ParseDuration(limit)
		kit.Must(t, err)
		s.run(duration)
	default:
		given, err := walk.Parse(s.ops, soakShort)
		kit.Must(t, err)
		s.try("the short walk", given)
	}
}

// soak takes walks until one fails.
type soak struct {
	t   *testing.T
	n   *soakNode
	ops []walk.Op
}

// run takes the stored walks, then random ones until the time is over.
func (s *soak) run(limit time.Duration) {
	stored, err := walk.Stored(s.ops, soakStored)
	kit.Must(s.t, err)
	for i, steps := range stored {
		if !s.try(fmt.Sprintf("stored walk %d", i+1), steps) {
			return
		}
	}
	began := time.Now()
	reported, c := began, &s.n.count
	seed := uint64(began.Unix()) //nolint:gosec // any number will do
	for ; time.Since(began) < limit && s.try(fmt.Sprintf("seed %d", seed), s.draw(seed)); seed++ {
		if time.Since(reported) > soakReportEvery {
			reported = time.Now()
			s.t.Logf("soak: %s: %d walks, %d steps, %d rests; seed %d", time.Since(began).Round(time.Second), c.walks, c.steps, c.rests, seed)
		}
	}
}

// draw returns the steps of a seed. The first ones make pods: without any, most steps have no effect.
func (s *soak) draw(seed uint64) []walk.Step {
	adds := slices.DeleteFunc(slices.Clone(s.ops), func(o walk.Op) bool { return o.Name != "add" })
	return append(walk.Draw(adds, seed, soakPods), walk.Draw(s.ops, seed, soakLength)...)
}

// try takes one walk and reports whether it succeeded.
func (s *soak) try(name string, steps []walk.Step) bool {
	ctx := s.t.Context()
	err := s.n.walk(ctx, steps)
	if err == nil {
		return true
	}
	s.t.Errorf("%s\nsteps: %s\n%v\n%s", name, walk.Format(steps), err, s.n.evidence(ctx))
	if os.Getenv(soakShrinkEnv) != "" {
		least := walk.Shrink(steps, func(fewer []walk.Step) bool { return s.n.walk(ctx, fewer) != nil })
		s.t.Logf("fewest steps: %s", walk.Format(least))
	}
	return false
}

// walk takes one walk on a clean node and ends all its pods.
func (n *soakNode) walk(ctx context.Context, steps []walk.Step) error {
	if err := n.clean(ctx); err != nil {
		return fmt.Errorf("before the walk: %w", err)
	}
	n.count.walks++
	n.atStart, n.rested, n.logAt = false, true, n.log.len()
	all := soakSteps()
	for i, s := range steps {
		at := slices.IndexFunc(all, func(o soakOp) bool { return o.Name == s.Op })
		began := time.Now()
		text, err := all[at].do(n, ctx, s.Args)
		if text != "" {
			n.rested = s.Op == "rest"
			n.count.steps++
			n.count.ops[s.Op]++
			n.progress(fmt.Sprintf("%2d %s: %s (%s)", i+1, s, text, short(time.Since(began))))
		}
		if err != nil {
			return fmt.Errorf("step %d (%s): %w", i+1, s, err)
		}
	}
	if err := n.rest(ctx); err != nil {
		return fmt.Errorf("the last rest: %w", err)
	}
	for i, p := range n.pods {
		if p != nil {
			if err := n.del(ctx, i); err != nil {
				return fmt.Errorf("the end: %w", err)
			}
		}
	}
	if err := n.rest(ctx); err != nil {
		return fmt.Errorf("after the end of all pods: %w", err)
	}
	n.atStart = true
	return nil
}

// evidence is what helps to analyse a failed walk.
func (n *soakNode) evidence(ctx context.Context) string {
	var text strings.Builder
	lines := n.log.from(n.logAt)
	text.WriteString("agent's log:\n")
	for _, l := range lines[max(0, len(lines)-60):] {
		text.WriteString("  " + l.Raw + "\n")
	}
	for _, p := range n.pods {
		if p == nil || p.baseline == nil {
			continue
		}
		s, err := n.snapshot(ctx, p)
		text.WriteString(fmt.Sprintf("pod %s, besides the baseline: %v\n  ", p.name, err) + strings.Join(s.diff(p.expected(s)), "\n  ") + "\n")
	}
	return text.String() + "kernel's log:\n  " + dmesg(ctx)
}
