package sandboxgc_test

import (
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// TestADDThatWasKilledBeforeTheClockWasSetBack: what it left is not left alone until the clock is where it was.
func TestADDThatWasKilledBeforeTheClockWasSetBack(t *testing.T) {
	n := run(t, func(n *node, r *bond.Record, pass func(time.Duration)) {
		r.Phase, r.Created = bond.PhaseAdding, time.Now().Add(365*24*time.Hour)
		n.end("pod")
		pass(time.Hour)
	})
	if n.tries != 1 {
		t.Errorf("%d releases in an hour, want one", n.tries)
	}
}
