package reconcile_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/pkg/status"
)

// TestLossHasOneID: all log lines about one loss and its repair have one ID, which the record has, too. A restarted
// agent continues with it.
func TestLossHasOneID(t *testing.T) {
	for _, c := range []struct {
		name  string
		play  func(r *fixture, reconcileAll func(restart bool))
		lines []string
	}{
		{"a member", func(r *fixture, reconcileAll func(bool)) {
			must(r.t, r.UnbindVF(r.VFs[0]))
			reconcileAll(false)
			must(r.t, r.BindVF(r.VFs[0]))
			r.failOnce(plan.Enslave{}, errors.New("rejected"))
			reconcileAll(true)
		}, []string{"member lost", "bond state changed", "action failed", "applied", "member recovered", "bond state changed"}},
		{"the bond", func(r *fixture, reconcileAll func(bool)) {
			must(r.t, r.DeleteBond(r.Path(), scenario.BondIf))
			r.failOnce(plan.CreateBond{}, bond.ErrBusy)
			reconcileAll(false)
		}, []string{"bond damaged", "action failed", "bond state changed", "applied", "member lost", "applied", "bond recovered", "member recovered", "bond state changed"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := ready(t, scenario.OKD())
			core, logs := observer.New(zap.InfoLevel)
			var transitions *status.TransitionLogger
			start := func() {
				r.engine = reconcile.New(reconcile.Config{Kernel: r.Fake, Store: r.store, Now: r.clock.Now, Log: zap.New(core)})
				transitions = status.NewTransitionLogger(zap.New(core))
				transitions.Report(r.status())
			}
			start()
			logs.TakeAll()
			c.play(r, func(restart bool) {
				if restart {
					start()
				}
				for range 10 {
					out, _ := r.converge()
					transitions.Report(out.Status)
					r.clock.turn(out.RetryAfter)
				}
			})
			all := logs.All()
			ids := map[any]bool{}
			for _, line := range all {
				ids[line.ContextMap()["loss"]] = true
			}
			out := r.wantState(bond.StateReady)
			if len(ids) != 1 || !ids[out.Record.Repairs.Last.ID] {
				t.Errorf("IDs %v, the record has %q\n%s", ids, out.Record.Repairs.Last.ID, linesOf(all))
			}
			if got := linesOf(all); !inOrder(got, c.lines) {
				t.Errorf("lines\n%s\nwant\n%s", got, strings.Join(c.lines, "\n"))
			}
		})
	}
}

// failOnce makes the next action of a kind fail.
func (r *fixture) failOnce(kind plan.Action, err error) {
	r.FailApplyIf(func(a plan.Action) error {
		if plan.Kind(a) != plan.Kind(kind) {
			return nil
		}
		failed := err
		err = nil
		return failed
	})
}

// status is the bond's, without a reconcile.
func (r *fixture) status() bond.Status {
	out, err := r.engine.Inspect(r.t.Context(), r.Record.Key)
	must(r.t, err)
	return out.Status
}

// checkLossIDs: each line about a repair has the IDs of losses that were logged before it.
func checkLossIDs(t *testing.T, lines []observer.LoggedEntry) {
	t.Helper()
	known := map[string]bool{}
	for _, line := range lines {
		ids, _ := line.ContextMap()["loss"].(string)
		switch line.Message {
		case "member lost", "bond damaged":
			known[ids] = true
		case "applied", "action failed", "member recovered", "bond recovered":
		default:
			continue
		}
		for id := range strings.SplitSeq(ids, ",") {
			if id == "" || !known[id] {
				t.Errorf("loss %q of %q %v; known are %v", id, line.Message, line.ContextMap(), known)
			}
		}
	}
}

func linesOf(all []observer.LoggedEntry) string {
	var b strings.Builder
	for _, line := range all {
		b.WriteString(line.Message + "\n")
	}
	return b.String()
}

// inOrder reports whether text has all lines in this order, among others.
func inOrder(text string, lines []string) bool {
	for line := range strings.Lines(text) {
		if len(lines) > 0 && strings.TrimSuffix(line, "\n") == lines[0] {
			lines = slices.Delete(slices.Clone(lines), 0, 1)
		}
	}
	return len(lines) == 0
}
