package reconcile_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/test/faults"
)

// TestCatalogue plays the catalogue of faults, with each member. Rows without steps say why, and which test here has
// the fault.
func TestCatalogue(t *testing.T) {
	for _, f := range faults.Rows() {
		for m := range f.Count() {
			if len(f.Steps) > 0 {
				t.Run(fmt.Sprintf("%s/net%d", f.Name, m+1), func(t *testing.T) { playFault(t, &f, m) })
			}
		}
	}
}

func playFault(t *testing.T, f *faults.Fault, m int) {
	r := added(t, scenario.OKD())
	r.complete()
	core, logs := observer.New(zap.InfoLevel)
	c := newCounted(t)
	r.engine = reconcile.New(reconcile.Config{Kernel: r.Fake, Store: r.store, IPAM: r.ipam, Now: r.clock.Now, Log: zap.New(core), Metrics: c, Downs: r.Downs})
	before := r.inPod()
	count := func(message string) int { return logs.FilterMessage(message).Len() }
	for i, s := range f.Steps {
		must(t, s.Do(r.Bond(), m))
		changes := r.Changes()
		out, err := r.converge()
		if losses := count("bond damaged") + count("member lost"); i == 0 && s.State == "" && losses == 0 || s.BothLost && losses != 2 {
			t.Errorf("step %d: %d losses are logged", i+1, losses)
		}
		if len(f.Steps) == 1 && (err != nil || out.RetryAfter != 0 || out.Status.State != bond.StateReady) {
			t.Errorf("not repaired at once: %s (%s), retry after %s: %v", out.Status.State, out.Status.Reason, out.RetryAfter, err)
		}
		out = r.convergeUntilIdle()
		if s.State != "" && s.State != out.Status.State || !strings.Contains(out.Status.Reason, s.Report) {
			t.Errorf("step %d: %s: %s, want %s: %s", i+1, out.Status.State, out.Status.Reason, s.State, s.Report)
		}
		if s.Untouched && r.Changes() != changes {
			t.Errorf("step %d: not left alone: %v", i+1, r.ChangeLog()[changes:])
		}
		if s.Check != nil {
			must(t, s.Check(r.Bond(), m))
		}
	}
	if f.Failover && m == 0 {
		changes := r.Changes()
		if out := r.wantState(bond.StateReady); out.Status.Active != "net2" || r.Changes() != changes {
			t.Errorf("%s is active after a failover; changes %v", out.Status.Active, r.ChangeLog()[changes:])
		}
		must(t, r.SetOption(r.Path(), r.Record.BondName(), bond.OptActiveSlave, "net1"))
	}
	if out := r.wantState(bond.StateReady); !out.Record.Settled || len(out.Record.Repairs.Open) > 0 || len(out.Record.Contested) > 0 {
		t.Errorf("settled %t, losses %v, contested %v", out.Record.Settled, out.Record.Repairs.Open, out.Record.Contested)
	}
	if losses, repairs := count("bond damaged")+count("member lost"), count("bond recovered")+count("member recovered"); losses != repairs {
		t.Errorf("%d losses and %d repairs are logged", losses, repairs)
	}
	checkLossIDs(t, logs.All())
	counted := c.sum(t, "losses ", "")
	if logged := count("bond damaged") + count("member lost"); counted != logged || c.sum(t, "repairs ", " recovered") != logged {
		t.Errorf("%d losses are logged, %d counted", logged, counted)
	}
	c.bounded(t)
	if after := r.inPod(); after != before {
		t.Errorf("not as before:\n%s\nbut\n%s", before, after)
	}
}

var ifindex = regexp.MustCompile(`(?m)^  [0-9]+: `)

// inPod is the pod's links, without their indexes and so in another order, and what the PFs have for VFs.
func (r *fixture) inPod() string {
	_, text, _ := strings.Cut(r.Node.String(), "netns "+r.Path())
	lines := strings.Split(ifindex.ReplaceAllString(text, ""), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
