package bond_test

import (
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

func TestKey(t *testing.T) {
	long := strings.Repeat("a", 201)
	for _, tt := range []struct {
		text string
		want bond.Key
		err  string
	}{
		{"0a1b@bond0", bond.Key{ContainerID: "0a1b", IfName: "bond0"}, ""},
		{"c@a@b", bond.Key{ContainerID: "c", IfName: "a@b"}, ""},
		{"no-at-sign", bond.Key{}, "want <containerID>@<ifName>"},
		{"../etc@bond0", bond.Key{}, "container ID"},
		{"a/b@bond0", bond.Key{}, "container ID"},
		{"@bond0", bond.Key{}, "container ID"},
		{long + "@bond0", bond.Key{}, "container ID"},
		{"c@", bond.Key{}, "empty"},
		{"c@..", bond.Key{}, "not a name"},
		{"c@a/b", bond.Key{}, "not allowed"},
		{"c@a b", bond.Key{}, "not allowed"},
		{"c@sixteen-bytes-xx", bond.Key{}, "15 at most"},
	} {
		t.Run(tt.text, func(t *testing.T) {
			k, err := bond.ParseKey(tt.text)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want one with %q", err, tt.err)
				}
				return
			}
			if err != nil || k != tt.want || k.String() != tt.text {
				t.Fatalf("%v (%q), %v; want %v", k, k, err, tt.want)
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	for text, want := range map[string]bond.MAC{
		"02:00:00:00:00:0A": "02:00:00:00:00:0a", "02-00-00-00-00-01": "02:00:00:00:00:01",
		"01:00:00:00:00:01": "", "00:00:00:00:00:00": "", "02:00:00:00:00": "", "x": "",
		"02:00:00:00:00:00:00:01": "",
	} {
		if m, err := bond.ParseMAC(text); m != want || (err == nil) != (want != "") {
			t.Errorf("ParseMAC(%q) = %q, %v; want %q", text, m, err, want)
		}
	}
	for text, want := range map[string]bond.PCIAddress{
		"0000:01:10.0": "0000:01:10.0", "01:1F.7": "0000:01:1f.7", "0000:01:20.0": "", "0000:01:10.8": "", "../x": "",
	} {
		if p, err := bond.ParsePCIAddress(text); p != want || (err == nil) != (want != "") {
			t.Errorf("ParsePCIAddress(%q) = %q, %v; want %q", text, p, err, want)
		}
	}
}

func TestOptionValues(t *testing.T) {
	for _, tt := range []struct {
		option bond.Option
		text   string
		want   string // "" for rejected
	}{
		{bond.OptMode, "1", "active-backup"},
		{bond.OptMode, "active-backup", "active-backup"},
		{bond.OptMode, "7", ""},
		{bond.OptMode, "-1", ""},
		{bond.OptMiimon, " 100 ", "100"},
		{bond.OptMiimon, "-1", ""},
		{bond.OptMiimon, "2147483648", ""},
		{bond.OptMiimon, "1e2", ""},
		{bond.OptFailOverMac, "2", "follow"},
		{bond.OptUseCarrier, "true", "on"},
		{bond.OptUseCarrier, "0", "off"},
		{bond.OptFailOverMac, "true", ""},
		{bond.OptArpIPTargets, "10.0.0.2, 10.0.0.1,10.0.0.2", "10.0.0.1,10.0.0.2"},
		{bond.OptArpIPTargets, "fe80::1", ""},
		{bond.OptArpIPTargets, strings.TrimSuffix(strings.Repeat("10.0.0.1,", 17), ","), ""},
		{bond.OptNsIP6Targets, "fd00::1", "fd00::1"},
		{bond.OptNsIP6Targets, "fe80::1%eth0", ""},
		{bond.OptArpIPTargets, "0.0.0.1", ""}, // as the next three: the kernel rejects them
		{bond.OptArpIPTargets, "255.255.255.255", ""},
		{bond.OptNsIP6Targets, "::1", ""},
		{bond.OptNsIP6Targets, "ff02::1", ""},
		{bond.OptArpIPTargets, "224.0.0.1,127.0.0.1", "127.0.0.1,224.0.0.1"}, // which it accepts
		{bond.OptAdActorSystem, "02:00:00:00:00:0F", "02:00:00:00:00:0f"},
		{bond.OptPrimary, "net1", "net1"},
		{bond.OptPrimary, "net1/x", ""},
		{bond.OptLpInterval, "0", ""},
		{bond.OptNumPeerNotif, "256", ""},
	} {
		got, err := bond.LookupOption(tt.option).Parse(tt.text)
		if (err == nil) != (tt.want != "") || err == nil && got != tt.want {
			t.Errorf("%s %q: got %q, %v; want %q", tt.option, tt.text, got, err, tt.want)
		}
		if err != nil && !strings.Contains(err.Error(), string(tt.option)) {
			t.Errorf("error does not name the option: %v", err)
		}
	}
}

// The canonical text of each option must be parsed as itself: records contain it.
func TestCanonicalIsStable(t *testing.T) {
	sample := map[bond.ValueKind]string{bond.KindIPv4s: "10.0.0.1,10.0.0.2", bond.KindIPv6s: "fd00::1", bond.KindMAC: "02:00:00:00:00:01", bond.KindLink: "net1"}
	attrs := map[uint16]bond.Option{}
	for _, d := range bond.OptionDefs() {
		values := d.Values
		if values == nil {
			values = []string{"1"}
			if s, ok := sample[d.Kind]; ok {
				values = []string{s}
			}
		}
		for _, v := range values {
			if got, err := d.Parse(v); err != nil || got != v {
				t.Errorf("%s: %q became %q, %v", d.Name, v, got, err)
			}
		}
		if other, taken := attrs[d.Attr]; taken {
			t.Errorf("%s and %s have one attribute number", d.Name, other)
		}
		attrs[d.Attr] = d.Name
	}
	if len(attrs) != 33 {
		t.Errorf("%d options in the table, want the kernel's 34 less AD_INFO", len(attrs))
	}
}

func TestOptionsValidate(t *testing.T) {
	for _, tt := range []struct {
		options bond.Options
		err     string
	}{
		{bond.Options{bond.OptMode: "active-backup", bond.OptPrimary: "net1"}, ""},
		{bond.Options{bond.OptMode: "802.3ad", bond.OptPrimary: "net1"}, "not an option of mode 802.3ad"},
		{bond.Options{bond.OptMode: "balance-tlb", bond.OptArpInterval: "100"}, "not an option of mode balance-tlb"},
		{bond.Options{bond.OptLacpRate: "fast"}, "not an option of mode balance-rr"},
		{bond.Options{"nonsense": "1"}, "no such bonding option"},
		{bond.Options{bond.OptMode: "1"}, "not canonical"},
		{bond.Options{bond.OptMiimon: "100", bond.OptArpInterval: "100", bond.OptArpIPTargets: "10.0.0.1"}, "one monitor"},
		{bond.Options{bond.OptMiimon: "0", bond.OptArpInterval: "100", bond.OptArpIPTargets: "10.0.0.1"}, ""},
		{bond.Options{bond.OptArpInterval: "100"}, "without a target"},
		{bond.Options{bond.OptArpInterval: "100", bond.OptNsIP6Targets: "fd00::1"}, ""},
		{bond.Options{bond.OptUpdelay: "100"}, "needs miimon"},
		{bond.Options{bond.OptMiimon: "100", bond.OptUpdelay: "150"}, ""},
		{bond.Options{bond.OptMode: "active-backup", bond.OptArpValidate: "all"}, "needs arpInterval"},
	} {
		err := tt.options.Validate()
		if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%v: %v, want %q", tt.options, err, tt.err)
		}
	}
}

func TestOptionsWarnings(t *testing.T) {
	arp := func(validate, targets string) bond.Options {
		return bond.Options{
			bond.OptMode: "active-backup", bond.OptArpInterval: "100", bond.OptArpIPTargets: "10.0.0.1",
			bond.OptArpValidate: validate, bond.OptArpAllTargets: targets,
		}
	}
	for _, tt := range []struct {
		options bond.Options
		want    []string
	}{
		{bond.Options{bond.OptMode: "active-backup", bond.OptMiimon: "100", bond.OptFailOverMac: "active"}, nil},
		{bond.Options{bond.OptMode: "balance-rr", bond.OptMiimon: "100", bond.OptFailOverMac: "none"}, nil},
		{bond.Options{bond.OptMode: "balance-rr", bond.OptMiimon: "100", bond.OptFailOverMac: "active"}, []string{"failOverMac: active has no effect in mode balance-rr"}},
		{bond.Options{bond.OptMode: "active-backup", bond.OptMiimon: "100", bond.OptMinLinks: "1"}, []string{"minLinks"}},
		{bond.Options{bond.OptMode: "802.3ad", bond.OptMiimon: "100", bond.OptUpdelay: "250"}, []string{"the kernel rounds it to 200"}},
		{bond.Options{bond.OptMode: "802.3ad"}, []string{"the failure of a member is not detected"}},
		{arp("all", "any"), nil},
		{arp("all", "all"), nil},
		{arp("none", "any"), nil},
		{arp("none", "all"), []string{"arpAllTargets: all needs arpValidate all"}},
		{arp("filter", "all"), []string{"arpAllTargets: all needs arpValidate all"}},
	} {
		got := tt.options.Warnings()
		if len(got) != len(tt.want) {
			t.Errorf("%v: %q, want %q", tt.options, got, tt.want)
			continue
		}
		for i := range got {
			if !strings.Contains(got[i], tt.want[i]) {
				t.Errorf("%v: %q, want %q", tt.options, got[i], tt.want[i])
			}
		}
	}
	rounded := bond.Options{bond.OptMiimon: "100", bond.OptUpdelay: "250", bond.OptDowndelay: "300"}.Effective()
	if rounded[bond.OptUpdelay] != "200" || rounded[bond.OptDowndelay] != "300" {
		t.Errorf("effective %v", rounded)
	}
}

func TestVFSettingsDiffers(t *testing.T) {
	yes, no, mac := true, false, bond.MAC("02:00:00:00:00:01")
	vlan := &bond.VLAN{ID: 5, QoS: 1, Proto: 0x8100}
	want := bond.VFSettings{MAC: &mac, VLAN: vlan, Trust: &yes}
	same := mac
	have := bond.VFSettings{MAC: &same, VLAN: &bond.VLAN{ID: 5, QoS: 2, Proto: 0x8100}, SpoofChk: &no}
	d := want.Diff(have)
	if d.MAC != nil || d.SpoofChk != nil {
		t.Errorf("a setting that is right or was not requested is written: %v", d)
	}
	if d.VLAN == nil || d.Trust == nil {
		t.Errorf("a setting that differs or is unknown is not written: %v", d)
	}
	if !(bond.VFSettings{}).Diff(have).Empty() {
		t.Error("nothing requested, something written")
	}
}

func TestRecordClone(t *testing.T) {
	r := &bond.Record{Key: bond.Key{ContainerID: "c", IfName: "b"}, Spec: bond.Spec{Options: bond.Options{bond.OptMode: "active-backup"}}, Members: []bond.Member{{Name: "net1"}}}
	c := r.Clone()
	c.Members[0].Name = "other"
	c.Spec.Options[bond.OptMiimon] = "1"
	if r.Members[0].Name != "net1" || len(r.Spec.Options) != 1 {
		t.Error("the clone shares memory with the record")
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add("a@b")
	f.Add("a/../b@c")
	f.Fuzz(func(t *testing.T, s string) {
		k, err := bond.ParseKey(s)
		if err != nil {
			return
		}
		if k.String() != s || strings.ContainsAny(s, "/\x00") || strings.HasPrefix(s, ".") {
			t.Fatalf("%q became %q", s, k)
		}
	})
}
