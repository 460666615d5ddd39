package link

import (
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// TestReadsArePostponed: as often as the caller wants, and more often if they are slow, but not for ever.
func TestReadsArePostponed(t *testing.T) {
	var s slowReads
	slow, fast := bond.Key{ContainerID: "slow"}, bond.Key{ContainerID: "fast"}
	want := func(k bond.Key, times, want int) {
		t.Helper()
		n := 0
		for s.postpone(k, times) {
			n++
		}
		if n != want {
			t.Errorf("%s: postponed %d times, want %d", k.ContainerID, n, want)
		}
	}
	want(fast, 0, 0)
	want(fast, 1, 1)
	s.record(fast, slowRead-1)
	want(fast, 1, 1)
	for _, times := range []int{0, 1, maxPostponed} {
		s.record(slow, slowRead)
		want(slow, times, maxPostponed)
	}
	if s.record(slow, 0); len(s.bonds) != 1 {
		t.Errorf("kept: %v", s.bonds)
	}
	s.record(fast, 0)
	if !s.postpone(fast, maxPostponed) || !s.postpone(fast, 0) {
		t.Error("not postponed though the read that was under way was slow")
	}
}

// TestSlowReadsAreForgotten once the bond is no longer read.
func TestSlowReadsAreForgotten(t *testing.T) {
	s := slowReads{bonds: map[bond.Key]slowBond{{ContainerID: "gone"}: {at: time.Now().Add(-slowFor - time.Second), slow: true}}}
	s.record(bond.Key{ContainerID: "slow"}, slowRead)
	if _, retained := s.bonds[bond.Key{ContainerID: "gone"}]; retained || len(s.bonds) != 1 {
		t.Errorf("kept: %v", s.bonds)
	}
}
