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

// A MAC is restored only after the PF was read again: the shared result may have the MAC from before the VF was
// released or enslaved.
func TestPFMACDecides(t *testing.T) {
	const own, ofBond = bond.MAC("02:00:00:00:00:02"), bond.MAC("02:00:00:00:00:01")
	active := bond.Options{bond.OptMode: "active-backup", bond.OptFailOverMac: "active"}
	shared, swapped := bond.Options{bond.OptMode: "balance-xor"}, bond.Options{bond.OptMode: "balance-tlb"}
	for _, c := range []struct {
		name    string
		options bond.Options
		link    bond.MAC
		want    bool
	}{
		{"every member has its own MAC", active, own, true},
		{"every member has its own MAC, and this one not yet", active, ofBond, false},
		{"all have the bond's", shared, ofBond, false},
		{"all have the bond's, and this one not yet", shared, own, false},
		{"swapped", swapped, own, false},
	} {
		settings := bond.VFSettings{MAC: new(own)}
		r := &bond.Record{Spec: bond.Spec{Options: c.options, MAC: ofBond}, Members: []bond.Member{
			{Name: "net1", MAC: ofBond}, {Name: "net2", MAC: own, VF: &bond.VF{Settings: settings, Observed: &bond.VFSettings{}}, SriovCNI: &bond.SriovCNI{}},
		}}
		if got := plan.PFSettingsDecide(r, 1, c.link, bond.VFSettings{MAC: new(ofBond)}); got != c.want {
			t.Errorf("%s: %t, want %t", c.name, got, c.want)
		}
	}
}
