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

func TestOnlyMembersDiffer(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Record, *Observed)
		want   bool
	}{
		"a member is to be attached": {func(*Record, *Observed) {}, true},
		"none is":                    {func(_ *Record, o *Observed) { o.Members[0].Link.Master = 7 }, false},
		"it is lost":                 {func(_ *Record, o *Observed) { o.Members[0].Location = Lost }, false},
		"the bond is missing":        {func(_ *Record, o *Observed) { o.Bond = nil }, false},
		"the bond is down":           {func(_ *Record, o *Observed) { o.Bond.Up = false }, false},
		"the bond is another one":    {func(_ *Record, o *Observed) { o.Bond.Index, o.Members[0].Link.Master = 8, 0 }, false},
		"the bond is not restored":   {func(r *Record, _ *Observed) { r.Restoring = true }, false},
		"ADD has not returned":       {func(r *Record, _ *Observed) { r.Phase = PhaseAdding }, false},
	} {
		r := &Record{Phase: PhaseReady, BondIndex: 7}
		o := &Observed{Bond: &ObservedBond{Link: Link{Index: 7, Up: true}}, Members: []ObservedMember{{Location: InPod}}}
		tc.change(r, o)
		if got := o.OnlyMembersDiffer(r); got != tc.want {
			t.Errorf("%s: %t, want %t", name, got, tc.want)
		}
	}
}
