package history

import (
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// TestHintsChangeNothing: a caller that only inspects a bond starts no wait.
func TestHintsChangeNothing(t *testing.T) {
	s := newScenario()
	s.observe("net1=silent")
	h := s.set.Of(s.rec.Key)
	overdue := func(hints []plan.Hint) bool { return hints[0].Overdue }
	for _, at := range []time.Duration{0, time.Minute} {
		if overdue(h.Hints(s.rec, &s.obs, scenarioStart.Add(at))) {
			t.Errorf("overdue after %s without a reconcile", at)
		}
	}
	h.Begin(s.rec).Observe(&s.obs, scenarioStart)
	if !overdue(h.Hints(s.rec, &s.obs, scenarioStart.Add(time.Minute))) {
		t.Error("not overdue a minute after a reconcile")
	}
}
