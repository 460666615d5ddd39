package bond

import "testing"

func TestLinksDiffer(t *testing.T) {
	in := ObservedMember{Location: InPod, Link: Link{Master: 7}}
	for name, tc := range map[string]struct {
		up    bool
		other ObservedMember
		want  bool
	}{
		"complete":     {true, in, false},
		"down":         {false, in, true},
		"lost":         {true, ObservedMember{Location: Lost}, false},
		"in the host":  {true, ObservedMember{Location: InHost}, true},
		"not enslaved": {true, ObservedMember{Location: InPod}, true},
		"somewhere":    {true, ObservedMember{Location: InPod, Link: Link{Master: 8}}, true},
		"all but down": {false, ObservedMember{Location: Lost}, true},
	} {
		o := Observed{Bond: &ObservedBond{Link: Link{Index: 7, Up: tc.up}}, Members: []ObservedMember{in, tc.other}}
		if got := o.LinksDiffer(); got != tc.want {
			t.Errorf("%s: %t, want %t", name, got, tc.want)
		}
	}
}
