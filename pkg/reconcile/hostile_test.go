package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

// TestBothNamesOfALostVFAreTaken: if a pod takes both names of a lost VF, the reason names the links. No attempt is
// made, and the VF is back as soon as one of them is gone.
func TestBothNamesOfALostVFAreTaken(t *testing.T) {
	r := ready(t, scenario.OKD())
	tempName := r.Record.Members[0].TempName()
	must(t, r.UnbindVF(r.VFs[0]))
	for _, name := range []string{"net1", tempName} {
		_, err := r.AddImpostor(scenario.PodPath, name)
		must(t, err)
	}
	must(t, r.BindVF(r.VFs[0]))
	changes := r.Changes()
	out := r.wantState(bond.StateStuck)
	if !strings.Contains(out.Status.Reason, tempName) || r.Changes() != changes || out.RetryAfter != 0 {
		t.Errorf("reason %q, changes %v, retry after %v", out.Status.Reason, r.ChangeLog()[changes:], out.RetryAfter)
	}
	must(t, r.DeleteLink(scenario.PodPath, tempName))
	out, err := r.converge()
	must(t, err)
	if len(out.Unattached()) > 0 {
		t.Errorf("not attached at once: %s", out.Status.Reason)
	}
	must(t, r.DeleteLink(scenario.PodPath, "net1"))
	r.wantState(bond.StateReady)
}

// TestPlanThatIsAlwaysOvertakenIsReported: it counts as failed. Its error is reported, and manual action is requested.
func TestPlanThatIsAlwaysOvertakenIsReported(t *testing.T) {
	r := ready(t, scenario.OKD())
	must(t, r.Rename(scenario.PodPath, "net1", "x"))
	r.FailApplyIf(func(a plan.Action) error {
		if _, ok := a.(plan.Rename); ok {
			return fmt.Errorf("%w: another link has the name net1 now", bond.ErrStale)
		}
		return nil
	})
	var out reconcile.Outcome
	for range 12 {
		out, _ = r.converge()
		r.clock.turn(max(out.RetryAfter, 1))
	}
	if out.Status.State != bond.StateStuck || !strings.Contains(out.Status.Reason, "another link has the name net1 now") {
		t.Errorf("state %s: %q", out.Status.State, out.Status.Reason)
	}
	r.FailApplyIf(nil)
	r.wantState(bond.StateReady)
}

// TestMemberInUseIsReported: a member that the pod uses for a macvlan cannot be enslaved. The reason is reported, and
// the log does not repeat it endlessly.
func TestMemberInUseIsReported(t *testing.T) {
	core, lines := observer.New(zap.InfoLevel)
	r := ready(t, scenario.OKD())
	r.engine = reconcile.New(reconcile.Config{Kernel: r.Fake, Store: r.store, Now: r.clock.Now, Log: zap.New(core)})
	must(t, r.Release(scenario.PodPath, "net1"))
	must(t, r.AddMacvlan(scenario.PodPath, "above", "net1"))
	var out reconcile.Outcome
	for range 100 {
		out, _ = r.converge()
		r.clock.turn(out.RetryAfter)
	}
	if out.Status.State != bond.StateStuck || !strings.Contains(out.Status.Reason, "above") {
		t.Errorf("state %s: %q", out.Status.State, out.Status.Reason)
	}
	if n := lines.FilterMessage("action failed").Len(); n == 0 || n > 10 {
		t.Errorf("%d log lines about 100 failures in a row", n)
	}
	must(t, r.DeleteLink(scenario.PodPath, "above"))
	r.wantState(bond.StateReady)
}

// starvedStore has no time for its first attempt.
type starvedStore struct{ reconcile.Store }

func (starvedStore) Lock(ctx context.Context, _ bond.Key) (func(), error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestNoTimeForTheLock: if the time for a bond's lock is over before the first attempt, it is retried soon, as if
// another process had the lock.
func TestNoTimeForTheLock(t *testing.T) {
	r := ready(t, scenario.OKD())
	e := reconcile.New(reconcile.Config{Kernel: r.Fake, Store: starvedStore{r.store}, LockWait: time.Millisecond})
	if _, err := e.Converge(t.Context(), r.Record.Key); !errors.Is(err, bond.ErrLocked) {
		t.Errorf("got %v, want ErrLocked", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Converge(ctx, r.Record.Key); errors.Is(err, bond.ErrLocked) {
		t.Errorf("a context that ended is no lock: %v", err)
	}
}

// TestVFThatAnOperatorRebindsIsHeldBack: an operator waits up to 20 s for a VF in the host, and then rebinds its
// driver. It finally finds the VF there, because the VF is held back for a second or more, which is reported.
func TestVFThatAnOperatorRebindsIsHeldBack(t *testing.T) {
	r := ready(t, scenario.OKD())
	for rebinds := 1; ; rebinds++ {
		must(t, r.UnbindVF(r.VFs[0]))
		_, err := r.converge()
		must(t, err)
		must(t, r.BindVF(r.VFs[0]))
		out, err := r.converge()
		must(t, err)
		if out.RetryAfter >= time.Second {
			if len(out.Unattached()) == 0 || !strings.Contains(out.Status.Reason, "keeps being lost again") {
				t.Errorf("%s: %q", out.Status.State, out.Status.Reason)
			}
			break
		}
		if rebinds == 10 {
			t.Fatalf("rebound %d times, and never held back for a second", rebinds)
		}
		r.wantState(bond.StateReady)
		r.clock.turn(20 * time.Second)
	}
	r.wantState(bond.StateReady)
}

// TestPostponedReadsRetainTheReason: in a pod with many routes, reads are put off while a member cannot be repaired.
// That does not change the reason each time.
func TestPostponedReadsRetainTheReason(t *testing.T) {
	r := ready(t, scenario.OKD())
	must(t, r.Release(scenario.PodPath, "net1"))
	must(t, r.AddMacvlan(scenario.PodPath, "above", "net1"))
	for range 6 {
		out, _ := r.converge()
		r.clock.turn(out.RetryAfter)
	}
	before, _ := r.converge()
	r.PostponeNetwork(2) // once more than what is tried again at once
	after, _ := r.converge()
	if after.Observed.Bond.Unread == "" || after.Status.Reason != before.Status.Reason || !strings.Contains(after.Status.Reason, "above") {
		t.Errorf("reason %q, before %q", after.Status.Reason, before.Status.Reason)
	}
	r.HideNetwork(1)
	if out, _ := r.converge(); !strings.Contains(out.Status.Reason, "hidden") {
		t.Errorf("a pod that prevents the read is not reported: %q", out.Status.Reason)
	}
}
