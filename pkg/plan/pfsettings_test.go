package plan_test

import (
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

func TestForeignPFMAC(t *testing.T) {
	const own, ofBond, before, other, of2, original, zero = bond.MAC("02:00:00:00:00:01"), bond.MAC("02:00:00:00:00:02"),
		bond.MAC("02:00:00:00:00:03"), bond.MAC("02:00:00:00:00:04"), bond.MAC("02:00:00:00:00:05"), bond.MAC("02:00:00:00:00:06"),
		bond.MAC("00:00:00:00:00:00")
	r := &bond.Record{Spec: bond.Spec{MAC: ofBond}, Members: []bond.Member{
		{VF: &bond.VF{Observed: &bond.VFSettings{MAC: new(before)}}}, {MAC: of2, Original: bond.Original{MAC: original}},
	}}
	for mac, want := range map[bond.MAC]bool{own: false, ofBond: false, before: false, of2: false, original: false, zero: false, other: true} {
		if got := plan.ForeignPFMAC(r, 0, own, bond.VFSettings{MAC: new(mac)}); got != want {
			t.Errorf("%s: foreign %t, want %t", mac, got, want)
		}
	}
	if plan.ForeignPFMAC(r, 0, own, bond.VFSettings{}) {
		t.Error("a MAC that is not reported is foreign")
	}
}
