package reconcile_test

import (
	"strings"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// TestBounceIsGivenTimeToHelp: a driver needs some time after a bounce; only then is the bounce reported as failed.
func TestBounceIsGivenTimeToHelp(t *testing.T) {
	r := ready(t, scenario.OKD())
	must(t, r.ResetVF(r.VFs[1], -1))
	for _, step := range []struct {
		what    string
		applied int
		gaveUp  bool
		retry   time.Duration
	}{
		{"no carrier", 0, false, 15 * time.Second},
		{"bounced", 1, false, 15 * time.Second},
		{"given up", 0, true, 0},
	} {
		out, err := r.converge()
		must(t, err)
		gaveUp := strings.Contains(out.Status.Reason, "did not help")
		if len(out.Applied) != step.applied || gaveUp != step.gaveUp || out.RetryAfter != step.retry {
			t.Fatalf("%s: applied %v, retry after %s, reason %q", step.what, out.Applied, out.RetryAfter, out.Status.Reason)
		}
		r.clock.turn(out.RetryAfter)
	}
}

func TestStuckVFIsBouncedOnce(t *testing.T) {
	for name, helps := range map[string]bool{"helps": true, "does not help": false} {
		t.Run(name, func(t *testing.T) {
			r := ready(t, scenario.OKD())
			bounces := 1
			if !helps {
				bounces = -1
			}
			must(t, r.ResetVF(r.VFs[1], bounces))
			n := 0
			r.BeforeApply(func(a plan.Action) {
				if _, ok := a.(plan.Bounce); ok {
					n++
				}
			})
			out, err := r.converge()
			if err != nil || out.Status.State != bond.StateDegraded || out.RetryAfter != 15*time.Second {
				t.Fatalf("%s, %v, retry after %s; want to wait 15 s", out.Status.State, err, out.RetryAfter)
			}
			want := bond.StateReady
			if !helps {
				want = bond.StateDegraded
			}
			r.wantState(want)
			r.clock.turn(time.Hour)
			r.wantState(want)
			if n != 1 {
				t.Fatalf("%d bounces, want 1: %v", n, r.ChangeLog())
			}
		})
	}
}

// TestNoBusyLoopForAVFThatIsLeftAlone: a VF without carrier that sriov-cni has returned is not set down and up, so the
// bond is not reconciled for that again and again.
func TestNoBusyLoopForAVFThatIsLeftAlone(t *testing.T) {
	r := ready(t, scenario.OKD())
	must(t, r.ResetVF(r.VFs[1], -1))
	r.Detach(&r.Record.Members[1])
	out, err := r.converge()
	must(t, err)
	if out.RetryAfter != 15*time.Second {
		t.Errorf("after the loss of the carrier: again after %s", out.RetryAfter)
	}
	for range 3 {
		r.clock.turn(15 * time.Second)
		if out, err = r.converge(); err != nil || out.RetryAfter != 0 {
			t.Fatalf("again after %s (%v): %s", out.RetryAfter, err, out.Status.Reason)
		}
	}
}
