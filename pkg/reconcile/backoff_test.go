package reconcile_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

func TestFailingMemberBacksOffAlone(t *testing.T) {
	r := ready(t, scenario.OKD())
	for _, card := range scenario.Cards {
		must(t, r.SetNumVFs(card, 0))
		must(t, r.SetNumVFs(card, 2))
	}
	rejected := fmt.Errorf("the PF rejects it: %w", bond.ErrUnsupported)
	r.FailApplyIf(func(a plan.Action) error {
		if _, ok := a.(plan.RestoreVF); ok && a.Subject() == 0 {
			return rejected
		}
		return nil
	})
	out, err := r.converge()
	if !errors.Is(err, rejected) {
		t.Fatalf("error %v", err)
	}
	if got := out.Unattached(); !slices.Equal(got, []int{0}) {
		t.Fatalf("unattached %v, want net1 alone: fail closed, and harm no other\n%s", got, r.Node)
	}
	var waits []time.Duration
	for range 12 {
		r.clock.turn(out.RetryAfter)
		out, _ = r.converge()
		waits = append(waits, out.RetryAfter)
	}
	if waits[0] != 200*time.Millisecond || waits[11] != 30*time.Second {
		t.Fatalf("waits %v, want 200ms doubling to 30s", waits)
	}
	if out.Status.State != bond.StateStuck || !strings.Contains(out.Status.Reason, "the PF rejects it") {
		t.Fatalf("status %+v", out.Status)
	}
	rejected = fmt.Errorf("the PF is resetting: %w", bond.ErrBusy)
	r.clock.turn(out.RetryAfter)
	if out, _ = r.converge(); out.Status.State != bond.StateRepairing {
		t.Fatalf("what may pass by itself is reported as permanent: %+v", out.Status)
	}
	r.FailApplyIf(nil)
	r.wantState(bond.StateReady)
}

func TestFlappingMemberIsHeld(t *testing.T) {
	r := ready(t, scenario.OKD())
	held := 0
	for range 6 {
		must(t, r.UnbindVF(r.VFs[0]))
		_, err := r.converge()
		must(t, err)
		must(t, r.BindVF(r.VFs[0]))
		out, err := r.converge()
		must(t, err)
		if out.RetryAfter > 0 && len(out.Unattached()) == 1 {
			held++
			if !strings.Contains(out.Status.Reason, "held back until") {
				t.Errorf("held, and the reason is %q", out.Status.Reason)
			}
		}
		r.convergeUntilIdle()
		r.clock.turn(time.Second)
	}
	if held != 4 {
		t.Fatalf("held back %d times of 6, want 4: the first return and the first repetition are answered at once", held)
	}
	r.clock.turn(time.Minute)
	r.convergeUntilIdle()
	must(t, r.UnbindVF(r.VFs[0]))
	must(t, r.BindVF(r.VFs[0]))
	if out, err := r.converge(); err != nil || len(out.Unattached()) > 0 {
		t.Fatalf("still held after a quiet minute: %v, %v", out.Unattached(), err)
	}
}
