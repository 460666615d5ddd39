package reconcile_test

import (
	"strings"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
)

// A driver needs a moment after a bounce: that it did not help is said only when it has had one.
func TestBounceIsGivenTimeToHelp(t *testing.T) {
	r := ready(t, scenario.OKD())
	must(t, r.ResetVF(r.VFs[1], -1))
	for _, step := range []struct {
		what    string
		applied int
		gaveUp  bool
		retry   time.Duration
	}{
		{"deaf", 0, false, 15 * time.Second},
		{"bounced", 1, false, 15 * time.Second},
		{"given up", 0, true, 0},
	} {
		out, err := r.converge()
		must(t, err)
		gaveUp := strings.Contains(out.Status.Reason, "did not help")
		if len(out.Applied) != step.applied || gaveUp != step.gaveUp || out.RetryAfter != step.retry {
			t.Fatalf("%s: applied %v, retry after %s, told %q", step.what, out.Applied, out.RetryAfter, out.Status.Reason)
		}
		r.clock.turn(out.RetryAfter)
	}
}
