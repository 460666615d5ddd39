package reconcile_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

// reticent is a kernel whose PFs do not list their VFs, as while sriov_numvfs is being written.
type reticent struct {
	*linktest.Fake
	silent bool
}

func (k *reticent) Observe(ctx context.Context, r *bond.Record) (bond.Observed, error) {
	o, err := k.Fake.Observe(ctx, r)
	for i := range o.Members {
		if k.silent {
			o.Members[i].PF = nil
		}
	}
	return o, err
}

// TestVFBackBeforeItsPFReports: there is no event when a PF lists its VFs again, so the engine has to poll.
func TestVFBackBeforeItsPFReports(t *testing.T) {
	r := ready(t, scenario.OKD())
	k := &reticent{Fake: r.Fake, silent: true}
	r.engine = reconcile.New(reconcile.Config{Kernel: k, Store: r.store, Now: r.clock.Now})
	must(t, r.UnbindVF(r.VFs[0]))
	must(t, r.BindVF(r.VFs[0]))
	applies := r.Applies()
	var waits []time.Duration
	for len(waits) < 2 || waits[len(waits)-1] < 30*time.Second && len(waits) < 100 {
		out, err := r.converge()
		must(t, err)
		waits = append(waits, out.RetryAfter)
		r.clock.turn(out.RetryAfter)
	}
	if n := len(waits); waits[0] != 25*time.Millisecond || waits[n-1] != 30*time.Second || !slices.IsSorted(waits) || n > 40 {
		t.Fatalf("waits %v, want 25ms growing to 30s", waits)
	}
	if r.Applies() != applies {
		t.Fatalf("attached without a look at its settings: %v", r.ChangeLog())
	}
	k.silent = false
	r.wantState(bond.StateReady)
}
