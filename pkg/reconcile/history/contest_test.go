package history

import (
	"net/netip"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// TestContestedSettingsAreBounded: of many contested settings the record names the last 16, each once.
func TestContestedSettingsAreBounded(t *testing.T) {
	rec := &bond.Record{Phase: bond.PhaseReady}
	obs := &bond.Observed{SandboxAlive: true, Bond: &bond.ObservedBond{}}
	r := New(Timing{}).Of(rec.Key).Begin(rec)
	insist := func(i int, now time.Time) {
		addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
		a := plan.AddAddress{MemberIndex: plan.OnBond, Prefix: netip.PrefixFrom(addr, 24)}
		for range contestLimit {
			r.Applied(a, now)
		}
		if got := r.Adopt(obs, []plan.Action{a}, now); len(got) != 1 {
			t.Fatalf("address %d: adopted %v", i, got)
		}
	}
	now := scenarioStart
	for i := range maxContested + 2 {
		now = now.Add(time.Second)
		insist(i, now)
	}
	insist(5, now.Add(time.Minute)) // again
	if n := len(rec.Contested); n != maxContested {
		t.Errorf("%d contested settings, want %d", n, maxContested)
	}
	seen := map[string]bool{}
	for _, c := range rec.Contested {
		if seen[c.Setting] {
			t.Errorf("%s is listed twice", c.Setting)
		}
		seen[c.Setting] = true
	}
	if last := rec.Contested[maxContested-1]; !last.At.Equal(now.Add(time.Minute)) {
		t.Errorf("last is %+v", last)
	}
}

// TestRestorationsAreForgotten: restorations older than a minute are dropped.
func TestRestorationsAreForgotten(t *testing.T) {
	s, now := newSubject(), scenarioStart
	for range 100 {
		now = now.Add(time.Minute)
		s.next(event{eventKind: restored, what: "the MTU"}, now, Timing{})
	}
	if n := len(s.restored["the MTU"]); n != 2 {
		t.Errorf("%d restorations are kept, want 2", n)
	}
}
