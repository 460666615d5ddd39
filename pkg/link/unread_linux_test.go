package link

import (
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// TestSlowReadsArePutOff, but not for ever, and only where they are slow.
func TestSlowReadsArePutOff(t *testing.T) {
	var s slowReads
	slow, fast := bond.Key{ContainerID: "slow"}, bond.Key{ContainerID: "fast"}
	if s.postpone(slow) {
		t.Error("put off before anything is known")
	}
	s.note(fast, slowRead-1)
	for round := range 2 {
		s.note(slow, slowRead)
		n := 0
		for s.postpone(slow) {
			n++
		}
		if n != maxPutOff || s.postpone(fast) {
			t.Errorf("round %d: put off %d times, want %d", round, n, maxPutOff)
		}
	}
	if s.forget(slow); len(s.putOff) > 0 {
		t.Errorf("kept: %v", s.putOff)
	}
}

func TestLinksDiffer(t *testing.T) {
	in := bond.ObservedMember{Place: bond.InPod, Link: bond.Link{Master: 7}}
	for name, tc := range map[string]struct {
		up    bool
		other bond.ObservedMember
		want  bool
	}{
		"complete":     {true, in, false},
		"down":         {false, in, true},
		"lost":         {true, bond.ObservedMember{Place: bond.Lost}, false},
		"in the host":  {true, bond.ObservedMember{Place: bond.InHost}, true},
		"not enslaved": {true, bond.ObservedMember{Place: bond.InPod}, true},
		"somewhere":    {true, bond.ObservedMember{Place: bond.InPod, Link: bond.Link{Master: 8}}, true},
		"all but down": {false, bond.ObservedMember{Place: bond.Lost}, true},
	} {
		o := bond.Observed{Bond: &bond.ObservedBond{Link: bond.Link{Index: 7, Up: tc.up}}, Members: []bond.ObservedMember{in, tc.other}}
		if got := linksDiffer(&o); got != tc.want {
			t.Errorf("%s: %t, want %t", name, got, tc.want)
		}
	}
}
