package reconcile_test

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

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/test/walk"
)

// walkStepsEnv is the total number of steps; walkSeedEnv is the first seed.
const (
	walkStepsEnv = "BONDKEEPER_WALK_STEPS"
	walkSeedEnv  = "BONDKEEPER_WALK_SEED"
)

const (
	walkSteps  = 3000 // in make test
	walkLength = 60   // of one walk
	walkBonds  = 5    // of all pods
)

// walkPods has the pod of each bond.
var walkPods = [walkBonds]string{scenario.PodPath, scenario.PodPath, "/run/netns/two", "/run/netns/two", "/run/netns/three"}

// storedWalks are walks that have failed; they run first.
//
//go:embed testdata/walks.txt
var storedWalks string

var walkOptions = []bond.Options{
	scenario.OKD(), scenario.OKD(),
	{bond.OptMode: "active-backup", bond.OptMiimon: "100"},
	{bond.OptMode: "active-backup", bond.OptMiimon: "100", bond.OptFailOverMac: "active", bond.OptPrimary: "net1"},
	{bond.OptMode: "balance-rr", bond.OptMiimon: "100"},
	{bond.OptMode: "balance-xor", bond.OptMiimon: "100"},
	{bond.OptMode: "active-backup", bond.OptMiimon: "100", bond.OptFailOverMac: "follow"},
	{bond.OptMode: "balance-tlb", bond.OptMiimon: "100"},
	{bond.OptMode: "balance-alb", bond.OptMiimon: "100"},
}

// walkOp is an operation of a walk.
type walkOp struct {
	walk.Op
	do func(w *walker, ctx context.Context, args []int) error
}

// walkOps are the verbs, and every fault of every bond.
func walkOps() []walkOp {
	onBond := []int{walkBonds}
	ops := []walkOp{
		{walk.Op{Name: "add", Weight: 30, Args: []int{walkBonds, len(walkOptions)}}, (*walker).add},
		{walk.Op{Name: "del", Weight: 6, Args: onBond}, (*walker).del},
		{walk.Op{Name: "del-begun", Weight: 3, Args: onBond}, (*walker).delBegun},
		{walk.Op{Name: "agent-release", Weight: 5, Args: onBond}, (*walker).agentRelease},
		{walk.Op{Name: "kill-pod", Weight: 2, Args: onBond}, (*walker).killPod},
		{walk.Op{Name: "restart", Weight: 6}, func(w *walker, _ context.Context, _ []int) error { w.restart(); return nil }},
		{walk.Op{Name: "converge", Weight: 40, Args: onBond}, (*walker).convergeOne},
		{walk.Op{Name: "repair", Weight: 20, Args: onBond}, (*walker).repairOne},
		{walk.Op{Name: "wait", Weight: 10, Args: []int{20}}, func(w *walker, _ context.Context, args []int) error {
			w.clock.turn(time.Duration(args[0]) * 500 * time.Millisecond)
			return nil
		}},
		{walk.Op{Name: "errors", Weight: 4, Args: []int{100}}, (*walker).injectErrors},
		{walk.Op{Name: "unobservable", Weight: 2}, func(w *walker, _ context.Context, _ []int) error {
			w.fake.FailObserve(1, bond.ErrBusy)
			return nil
		}},
		{walk.Op{Name: "ipam-fails", Weight: 5, Args: []int{6}}, func(w *walker, _ context.Context, args []int) error {
			w.leases.fails = args[0] + 1
			return nil
		}},
		{walk.Op{Name: "rest", Weight: 12}, (*walker).rest},
	}
	faults := scenario.Faults()
	for _, f := range faults {
		ops = append(ops, walkOp{walk.Op{Name: strings.NewReplacer(" ", "-", ":", "").Replace(f.Name), Weight: 1, Args: onBond}, func(w *walker, _ context.Context, args []int) error {
			w.fault(f, args[0])
			return nil
		}})
	}
	return append(ops, walkOp{walk.Op{Name: "meanwhile", Weight: 20, Args: []int{len(faults), walkBonds, 6}}, func(w *walker, _ context.Context, args []int) error {
		w.later[args[2]] = func() { w.fault(faults[args[0]], args[1]) }
		return nil
	}})
}

// take takes one walk. It ends with a rest, and with another one after all bonds were deleted.
func take(t *testing.T, ops []walkOp, steps []walk.Step) (log []string, err error) {
	dir, err := os.MkdirTemp(t.TempDir(), "walk")
	if err != nil {
		return nil, err
	}
	w, err := newWalker(dir, newCounted(t))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, w.fake)
		}
	}()
	for _, s := range steps {
		at := slices.IndexFunc(ops, func(o walkOp) bool { return o.Name == s.Op })
		w.log = append(w.log, "step "+s.String())
		if err := ops[at].do(w, t.Context(), s.Args); err != nil {
			return w.log, fmt.Errorf("step %s: %w", s, err)
		}
	}
	if err := w.rest(t.Context(), nil); err != nil {
		return w.log, fmt.Errorf("the last rest: %w", err)
	}
	for i, b := range w.bonds {
		if b != nil {
			if err := w.end(t.Context(), i); err != nil {
				return w.log, err
			}
		}
	}
	if err := w.rest(t.Context(), nil); err != nil {
		return w.log, err
	}
	return w.log, w.counted.balanced(t)
}

// TestRandomWalks: faults occur in the bonds of several pods. Verbs are called and interrupted, the kernel rejects
// requests, and the node changes while a plan is applied. At each rest the node is as in the model, and quiet. A walk
// that fails is shortened; once it is in testdata/walks.txt it runs first.
func TestRandomWalks(t *testing.T) {
	ops := walkOps()
	var drawn []walk.Op
	for _, o := range ops {
		drawn = append(drawn, o.Op)
	}
	total, seed := walkSteps, uint64(0)
	if text := os.Getenv(walkStepsEnv); text != "" {
		var err error
		if total, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	if text := os.Getenv(walkSeedEnv); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	stored, err := walk.Stored(drawn, storedWalks)
	must(t, err)
	walked, rests := 0, 0
	for i := 0; walked < total; i++ {
		name, steps := fmt.Sprintf("seed %d", seed), []walk.Step(nil)
		if i < len(stored) {
			name, steps = fmt.Sprintf("stored walk %d", i+1), stored[i]
		} else {
			steps = walk.Draw(drawn, seed, walkLength)
			seed++
		}
		if _, failed := take(t, ops, steps); failed != nil {
			least := walk.Shrink(steps, func(fewer []walk.Step) bool { _, again := take(t, ops, fewer); return again != nil })
			log, again := take(t, ops, least)
			t.Fatalf("%s: %v\nfewest steps: %s\n%v\n%s", name, failed, walk.Format(least), again, strings.Join(log, "\n"))
		}
		walked += len(steps)
		rests += 2
		for _, s := range steps {
			if s.Op == "rest" {
				rests++
			}
		}
	}
	t.Logf("%d steps of %d operations walked, %d rests checked, 0 failed", walked, len(ops), rests)
}
