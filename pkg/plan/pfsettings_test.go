package plan_test

import (
	"testing"
	"time"

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

// TestPFSettingsDecide: settings that are recorded or lead to a repair or a report have to be read again.
func TestPFSettingsDecide(t *testing.T) {
	const own, other = bond.MAC("02:00:00:00:00:01"), bond.MAC("02:00:00:00:00:77")
	vlan := func(id int) *bond.VLAN { return &bond.VLAN{ID: id} }
	recorded := bond.VFSettings{VLAN: vlan(7), Trust: new(false), MAC: new(own)}
	for _, c := range []struct {
		name               string
		requested          bond.VFSettings
		observed           *bond.VFSettings
		have               bond.VFSettings
		withoutFiles, want bool
	}{
		{"not recorded yet", bond.VFSettings{}, nil, recorded, false, true},
		{"as recorded", bond.VFSettings{VLAN: vlan(7)}, &recorded, recorded, false, false},
		{"as requested no more", bond.VFSettings{VLAN: vlan(7)}, &bond.VFSettings{}, bond.VFSettings{VLAN: vlan(8)}, false, true},
		{"requested of a VF without files", bond.VFSettings{VLAN: vlan(7)}, &bond.VFSettings{}, bond.VFSettings{VLAN: vlan(8)}, true, false},
		{"as observed no more", bond.VFSettings{}, &recorded, bond.VFSettings{VLAN: vlan(7), Trust: new(true)}, false, true},
		{"foreign MAC", bond.VFSettings{}, &recorded, bond.VFSettings{MAC: new(other)}, false, true},
		{"link state", bond.VFSettings{}, &bond.VFSettings{LinkState: new(uint32(0))}, bond.VFSettings{LinkState: new(uint32(2))}, false, false},
	} {
		r := &bond.Record{Members: []bond.Member{{Name: "net1", MAC: own, VF: &bond.VF{Settings: c.requested, Observed: c.observed}, SriovCNI: &bond.SriovCNI{}}}}
		if c.withoutFiles {
			r.Members[0].SriovCNI = nil
		}
		if got := plan.PFSettingsDecide(r, 0, own, c.have); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
	inSetup := &bond.Record{Phase: bond.PhaseReady, Setup: bond.Setup{Returned: time.Now()}, Members: []bond.Member{{Name: "net1", MAC: own, VF: &bond.VF{}}}}
	if plan.PFSettingsDecide(inSetup, 0, own, recorded) {
		t.Error("during set-up nothing is recorded, so nothing has to be read again")
	}
}
