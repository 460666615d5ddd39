package reconcile_test

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// persistentFailures are the errors of an action: each class, and errors that package link puts into no class.
var persistentFailures = []error{
	bond.ErrGone, bond.ErrBusy, bond.ErrStale, bond.ErrUnsupported, bond.ErrInvalid, bond.ErrInUse,
	unix.EPERM, unix.EINVAL, unix.EIO, unix.EEXIST,
}

// TestEveryErrorAtEveryAction: after every fault the bond is repaired. Then a single action fails, with any error, once
// or four times. The other actions continue, and no bond is reconciled endlessly. Once the action succeeds, the bond is
// as without the failure. A DEL with the failure ends, too.
func TestEveryErrorAtEveryAction(t *testing.T) {
	faults := append(scenario.Faults(), scenario.Fault{Name: "none: recreated", Do: func(w *scenario.Node) { _ = w.DeleteLink(scenario.PodPath, scenario.BondIf) }})
	stride := 20 // of all cases; make faults tries each
	if os.Getenv("BONDKEEPER_ALL_ERRORS") != "" {
		stride = 1
	}
	var tried, cases atomic.Int64
	t.Run("faults", func(t *testing.T) {
		for i, f := range faults {
			t.Run(f.Name, func(t *testing.T) {
				t.Parallel()
				n, all := failEach(t, f, i, stride)
				cases.Add(int64(all))
				t.Logf("%d of %d cases tried, %d in all", n, all, tried.Add(int64(n)))
			})
		}
	})
	t.Logf("%d faults, %d of %d cases of a failed action tried", len(faults), tried.Load(), cases.Load())
}

// failEach tries every stride-th case of one fault, starting at skip. It returns the number of cases tried and of all
// cases.
func failEach(t *testing.T, f scenario.Fault, skip, stride int) (tried, cases int) {
	t.Helper()
	want, actions := repaired(t, f, nil, 0)
	mac := "02:00:00:00:00:01"
	if f.Name == "ens1: cable pulled" || f.Name == "PF down, PF up: net1, step 1" {
		mac = "02:00:00:00:00:02" // the kernel failed over, and nothing was lost
	}
	if complete := "Ready with MAC " + mac + ", settled true, 0 losses open"; !strings.HasPrefix(want, complete) {
		t.Errorf("%s, want %s", want, complete)
	}
	for n := range actions {
		for i, err := range persistentFailures {
			if cases++; (cases+skip)%stride != 0 {
				continue
			}
			tried++
			times := 1 + 3*((n+i)%2)
			if got, _ := repaired(t, f, failNth(n, times, err), times); got != want {
				t.Errorf("action %d fails %d times with %q: %s, want %s", n+1, times, err, got, want)
			}
		}
	}
	return tried, cases
}

// failNth makes the n-th action of a repair fail, and the same one again until it has failed this many times.
func failNth(n, times int, err error) func(plan.Action) error {
	seen, what, failed := 0, "", 0
	return func(a plan.Action) error {
		text := fmt.Sprintf("%T %v", a, a)
		if what == "" && seen == n {
			what = text
		}
		seen++
		if text != what || failed == times {
			return nil
		}
		failed++
		return fmt.Errorf("injected: %w", err)
	}
}

// repaired causes a fault, and returns the final state of the bond and the number of actions.
func repaired(t *testing.T, f scenario.Fault, fail func(plan.Action) error, times int) (end string, actions int) {
	t.Helper()
	r := ready(t, scenario.OKD())
	applies := 0
	r.FailApplyIf(func(a plan.Action) error {
		applies++
		if fail == nil {
			return nil
		}
		return fail(a)
	})
	f.Do(r.Node)
	r.convergeUntilIdle()
	r.RestoreHardware()
	out := r.convergeUntilIdle()
	if most := 200; applies > most {
		t.Errorf("%d actions", applies)
	}
	end = fmt.Sprintf("%s with MAC %s, settled %t, %d losses open", out.Status.State, out.Status.MAC, out.Record.Settled, len(out.Record.Repairs.Open))
	if b := out.Observed.Bond; b != nil {
		end += fmt.Sprintf(", MTU %d, %d addresses, %d routes", b.MTU, len(b.Addresses), len(b.Routes))
	}
	err := r.engine.Release(t.Context(), r.Record.Key)
	for range times + 1 { // a runtime tries again
		if err == nil {
			break
		}
		err = r.engine.Release(t.Context(), r.Record.Key)
	}
	if err != nil {
		t.Errorf("release: %v", err)
	}
	return end, applies
}
