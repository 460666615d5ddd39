package cni

import (
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// TestForcedCarrierIsWarnedOf: miimon does not detect the loss of a cable behind a VF whose carrier its PF forces.
func TestForcedCarrierIsWarnedOf(t *testing.T) {
	r := &bond.Record{Members: []bond.Member{{Name: "net1"}, {Name: "net2"}, {Name: "net3"}}}
	found := &bond.MemberResult{Links: make([]bond.MemberLink, 3)}
	for i, state := range []uint32{0, bond.LinkStateEnable} {
		found.Links[i].PF = &bond.ObservedPF{VF: bond.VFSettings{LinkState: &state}}
	}
	for _, tc := range []struct {
		options bond.Options
		warned  bool
	}{
		{bond.Options{bond.OptMode: "active-backup", bond.OptMiimon: "100"}, true},
		{bond.Options{bond.OptMode: "active-backup", bond.OptArpInterval: "100", bond.OptMiimon: "0"}, false},
	} {
		r.Spec.Options = tc.options
		w := forcedCarrier(r, found)
		if (w != "") != tc.warned || tc.warned && (!strings.Contains(w, "of net2 (")) {
			t.Errorf("%s: warning %q", tc.options, w)
		}
	}
}
