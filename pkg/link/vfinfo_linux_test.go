package link

import (
	"errors"
	"reflect"
	"testing"

	"github.com/vishvananda/netlink/nl"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// allSettings is a VF with every setting.
func allSettings() bond.VFSettings {
	return bond.VFSettings{
		MAC:      new(bond.MAC("02:00:00:00:00:01")),
		VLAN:     &bond.VLAN{ID: 100, QoS: 3, Proto: 0x88a8},
		Rate:     &bond.VFRate{Min: 10, Max: 200},
		SpoofChk: new(false), Trust: new(true), LinkState: new(uint32(1)),
	}
}

// reported is what a PF reports about VFs with these settings, encoded here.
func reported(vfs ...bond.VFSettings) *device {
	list := nl.NewRtAttr(nl.IFLA_VF_INFO, nil) // only its payload is used
	for i, s := range vfs {
		info := list.AddRtAttr(nl.IFLA_VF_INFO, nil)
		if s.VLAN != nil && vlanAttr(s.VLAN) == nl.IFLA_VF_VLAN_LIST { // the kernel sends both
			plain := *s.VLAN
			plain.Proto = 0
			info.AddRtAttr(nl.IFLA_VF_VLAN, vlanData(uint32(i), &plain))
		}
		for _, a := range vfAttrs(i, s) {
			info.AddRtAttr(a.typ, a.data)
		}
	}
	return &device{Link: bond.Link{Name: "pf0"}, vfList: list.Serialize()[4:]}
}

func TestVFSettingsRoundTrip(t *testing.T) {
	other := bond.VFSettings{MAC: new(bond.MAC("00:00:00:00:00:00")), VLAN: &bond.VLAN{}, Rate: &bond.VFRate{}}
	d := reported(other, allSettings())
	for number, want := range []bond.VFSettings{other, allSettings()} {
		got, err := d.vfSettings(number)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("VF %d: %s (%v), want %s", number, got, err, want)
		}
	}
	if _, err := d.vfSettings(2); !errors.Is(err, bond.ErrGone) {
		t.Errorf("VF 2, which there is not: %v", err)
	}
}

// TestVFSettingsNotReported: a flag that a driver does not report is -1, neither on nor off.
func TestVFSettingsNotReported(t *testing.T) {
	list := nl.NewRtAttr(nl.IFLA_VF_INFO, nil)
	info := list.AddRtAttr(nl.IFLA_VF_INFO, nil)
	info.AddRtAttr(nl.IFLA_VF_MAC, (&nl.VfMac{}).Serialize())
	info.AddRtAttr(nl.IFLA_VF_SPOOFCHK, (&nl.VfSpoofchk{Setting: notReported}).Serialize())
	info.AddRtAttr(nl.IFLA_VF_TRUST, (&nl.VfTrust{Setting: notReported}).Serialize())
	d := &device{vfList: list.Serialize()[4:]}
	got, err := d.vfSettings(0)
	if err != nil || got.SpoofChk != nil || got.Trust != nil {
		t.Errorf("got %s (%v), want neither spoofchk nor trust", got, err)
	}
}

func TestVFOrder(t *testing.T) {
	var order []int
	for _, a := range vfAttrs(0, allSettings()) {
		order = append(order, a.typ)
	}
	want := []int{nl.IFLA_VF_VLAN_LIST, nl.IFLA_VF_MAC, nl.IFLA_VF_RATE, nl.IFLA_VF_SPOOFCHK, nl.IFLA_VF_TRUST, nl.IFLA_VF_LINK_STATE}
	if !reflect.DeepEqual(order, want) {
		t.Errorf("set in the order %v, want %v", order, want)
	}
	if got := vfAttrs(0, bond.VFSettings{}); got != nil {
		t.Errorf("nothing asked, and %v set", got)
	}
}

func TestVFSettingsNotApplied(t *testing.T) {
	for _, tc := range []struct {
		name       string
		want, have bond.VFSettings
		fine       bool
	}{
		{"all kept", allSettings(), allSettings(), true},
		{"nothing reported", allSettings(), bond.VFSettings{}, true},
		{"MAC dropped", bond.VFSettings{MAC: new(bond.MAC("02:00:00:00:00:01"))}, bond.VFSettings{MAC: new(bond.MAC("02:00:00:00:00:02"))}, false},
		{"VLAN dropped", bond.VFSettings{VLAN: &bond.VLAN{ID: 5}}, bond.VFSettings{VLAN: &bond.VLAN{Proto: 0x8100}}, false},
		{"VLAN without protocol", bond.VFSettings{VLAN: &bond.VLAN{ID: 5}}, bond.VFSettings{VLAN: &bond.VLAN{ID: 5, Proto: 0x8100}}, true},
		{"VLAN of another protocol", bond.VFSettings{VLAN: &bond.VLAN{ID: 5, Proto: 0x88a8}}, bond.VFSettings{VLAN: &bond.VLAN{ID: 5, Proto: 0x8100}}, false},
		{"spoof checking off", bond.VFSettings{SpoofChk: new(true)}, bond.VFSettings{SpoofChk: new(false)}, false},
		{"trust on", bond.VFSettings{Trust: new(false)}, bond.VFSettings{Trust: new(true)}, false},
		{"rate", bond.VFSettings{Rate: &bond.VFRate{Max: 5}}, bond.VFSettings{Rate: &bond.VFRate{}}, false},
		{"link state", bond.VFSettings{LinkState: new(uint32(2))}, bond.VFSettings{LinkState: new(uint32(0))}, false},
	} {
		if wrong := tc.want.NotMet(tc.have); wrong.Empty() != tc.fine {
			t.Errorf("%s: not taken is %q", tc.name, wrong)
		}
	}
}
