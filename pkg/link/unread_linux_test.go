package link

import (
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// TestSlowReadsArePostponed: but not for ever, and only if they are slow.
func TestSlowReadsArePostponed(t *testing.T) {
	var s slowReads
	slow, fast := bond.Key{ContainerID: "slow"}, bond.Key{ContainerID: "fast"}
	if s.postpone(slow, false) {
		t.Error("put off before anything is known")
	}
	s.record(fast, slowRead-1)
	for _, begun := range []bool{false, true} { // a read in progress is known to be slow
		s.record(slow, slowRead)
		n := 0
		for s.postpone(slow, begun) {
			n++
		}
		if n != maxPostponed || s.postpone(fast, false) {
			t.Errorf("begun %t: put off %d times, want %d", begun, n, maxPostponed)
		}
	}
	if s.record(slow, 0); len(s.bonds) > 0 {
		t.Errorf("kept: %v", s.bonds)
	}
	if !s.postpone(fast, true) || !s.postpone(fast, false) {
		t.Error("not put off though the read that was under way was slow")
	}
}

// TestSlowReadsAreForgotten once the bond is no longer read.
func TestSlowReadsAreForgotten(t *testing.T) {
	s := slowReads{bonds: map[bond.Key]slowBond{{ContainerID: "gone"}: {at: time.Now().Add(-slowFor - time.Second)}}}
	s.record(bond.Key{ContainerID: "slow"}, slowRead)
	if len(s.bonds) != 1 || s.postpone(bond.Key{ContainerID: "gone"}, false) {
		t.Errorf("kept: %v", s.bonds)
	}
}

func TestLinksDiffer(t *testing.T) {
	in := bond.ObservedMember{Location: bond.InPod, Link: bond.Link{Master: 7}}
	for name, tc := range map[string]struct {
		up    bool
		other bond.ObservedMember
		want  bool
	}{
		"complete":     {true, in, false},
		"down":         {false, in, true},
		"lost":         {true, bond.ObservedMember{Location: bond.Lost}, false},
		"in the host":  {true, bond.ObservedMember{Location: bond.InHost}, true},
		"not enslaved": {true, bond.ObservedMember{Location: bond.InPod}, true},
		"somewhere":    {true, bond.ObservedMember{Location: bond.InPod, Link: bond.Link{Master: 8}}, true},
		"all but down": {false, bond.ObservedMember{Location: bond.Lost}, true},
	} {
		o := bond.Observed{Bond: &bond.ObservedBond{Link: bond.Link{Index: 7, Up: tc.up}}, Members: []bond.ObservedMember{in, tc.other}}
		if got := linksDiffer(&o); got != tc.want {
			t.Errorf("%s: %t, want %t", name, got, tc.want)
		}
	}
}
