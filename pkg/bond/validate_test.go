package bond

import (
	"strings"
	"testing"
)

func TestRecordValidate(t *testing.T) {
	zero := MAC("00:00:00:00:00:00") // no MAC set by the PF
	good := Record{
		Key:     Key{ContainerID: "c1", IfName: "bond0"},
		Phase:   PhaseReady,
		Sandbox: Sandbox{Path: "/run/netns/a", Dev: 4, Inode: 4026532000},
		Spec:    Spec{MAC: "02:00:00:00:00:01", Options: Options{"anOptionOfLater": "x"}},
		Members: []Member{
			{Name: "net1", PCI: "0000:01:10.0", MAC: "02:00:00:00:00:01", VF: &VF{PF: "0000:01:00.0", Settings: VFSettings{MAC: &zero}}},
			{Name: "net2", Index: 4, PermMAC: "02:00:00:00:00:02", Original: Original{Name: "v0", MAC: "02:00:00:00:00:02"}},
		},
	}
	for _, tc := range []struct {
		name   string
		change func(*Record)
		want   string // in the error; empty for none
	}{
		{"as it is", func(*Record) {}, ""},
		{"no members", func(r *Record) { r.Members = nil }, ""},
		{"tombstone", func(r *Record) { r.Phase = PhaseDeleting }, ""},
		{"key", func(r *Record) { r.Key.ContainerID = "../c1" }, "container ID"},
		{"interface name", func(r *Record) { r.Key.IfName = "a/b" }, "interface name"},
		{"no phase", func(r *Record) { r.Phase = "" }, "phase"},
		{"unknown phase", func(r *Record) { r.Phase = "Ready" }, "phase"},
		{"no sandbox path", func(r *Record) { r.Sandbox.Path = "" }, "sandbox"},
		{"no sandbox inode", func(r *Record) { r.Sandbox.Inode = 0 }, "sandbox"},
		{"bond's name", func(r *Record) { r.Spec.Name = "a/b" }, "interface name"},
		{"bond's MAC", func(r *Record) { r.Spec.MAC = "02:00:00:00:00:0A" }, "of the bond"},
		{"member's name", func(r *Record) { r.Members[0].Name = "" }, "member 0"},
		{"member's PCI address", func(r *Record) { r.Members[0].PCI = "../../../etc" }, "PCI address"},
		{"PF's PCI address", func(r *Record) { r.Members[0].VF.PF = "" }, "of the PF"},
		{"member's MAC", func(r *Record) { r.Members[0].MAC = "x" }, "MAC address"},
		{"permanent MAC", func(r *Record) { r.Members[1].PermMAC = "02-00-00-00-00-01" }, "MAC address"},
		{"MAC on the PF", func(r *Record) { bad := MAC("1"); r.Members[0].VF.Settings.MAC = &bad }, "MAC address"},
		{"MAC before", func(r *Record) { r.Members[1].Original.MAC = "1" }, "MAC address"},
		{"name before", func(r *Record) { r.Members[1].Original.Name = "a b" }, "interface name"},
		{"no identity", func(r *Record) { r.Members[1].Index = 0 }, "neither"},
		{"unidentified", func(r *Record) { r.Members[1] = Member{Name: "net2", Unidentified: true} }, ""},
		{"unidentified VF", func(r *Record) { r.Members[0].Unidentified = true }, "unidentified"},
		{"same name", func(r *Record) { r.Members[1].Name = "net1" }, "members 0 and 1"},
		{"same VF", func(r *Record) { r.Members[1].PCI = "0000:01:10.0" }, "members 0 and 1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := good.Clone()
			tc.change(r)
			err := r.Validate()
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}
