package link

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netlink/nl"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// someLinks are the links that option tests can name.
var someLinks = map[string]int{"net1": 7, "net2": 4711}

func indexOfSome(name string) (int, error) {
	if i, ok := someLinks[name]; ok {
		return i, nil
	}
	return 0, bond.ErrGone
}

func nameOfSome(index int) string {
	for name, i := range someLinks {
		if i == index {
			return name
		}
	}
	return ""
}

// values are canonical values of an option: each name of an enumeration, both bounds of a number.
func values(d *bond.OptionDef) []string {
	switch d.Kind {
	case bond.KindEnum8, bond.KindEnum32:
		return d.Values
	case bond.KindIPv4s:
		return []string{"", "192.0.2.1", "192.0.2.1,192.0.2.10,192.0.2.2"}
	case bond.KindIPv6s:
		return []string{"", "2001:db8::1", "2001:db8::1,fe80::1"}
	case bond.KindMAC:
		return []string{"02:00:00:00:00:01"}
	case bond.KindLink:
		return []string{"net1", "net2"}
	default:
		return []string{strconv.Itoa(int(d.Min)), strconv.Itoa(int(d.Max))}
	}
}

func TestOptionsRoundTrip(t *testing.T) {
	for i := range bond.OptionDefs() {
		d := &bond.OptionDefs()[i]
		for _, value := range values(d) {
			t.Run(fmt.Sprintf("%s=%s", d.Name, value), func(t *testing.T) {
				attr, err := encodeOption(d, value, indexOfSome)
				kit.Must(t, err)
				got, err := decodeOptions(attr.Serialize(), nameOfSome)
				kit.Must(t, err)
				if v, reported := got[d.Name]; !reported || v != value {
					t.Errorf("encoded and decoded it is %q (reported: %t)", v, reported)
				}
			})
		}
	}
}

// TestOptionsOnTheWire compares the widths with those of bond_policy (bond_netlink.c). The kernel rejects a number that
// is too narrow, and misreads one that is too wide on a big-endian machine.
func TestOptionsOnTheWire(t *testing.T) {
	native := nl.NativeEndian()
	u16, u32 := make([]byte, 2), make([]byte, 4)
	native.PutUint16(u16, 513)
	native.PutUint32(u32, 4711)
	six := []byte{0, 0, 0, 4}
	native.PutUint32(six, 4)
	for _, tc := range []struct {
		name  bond.Option
		value string
		want  []byte
	}{
		{bond.OptMode, "802.3ad", []byte{4}},
		{bond.OptArpValidate, "filter", six},
		{bond.OptArpMissedMax, "7", []byte{7}},
		{bond.OptAdActorSysPrio, "513", u16},
		{bond.OptMiimon, "4711", u32},
		{bond.OptPrimary, "net2", u32},
		{bond.OptPrimary, "", []byte{0, 0, 0, 0}},
		{bond.OptAdActorSystem, "02:00:00:00:00:0a", []byte{2, 0, 0, 0, 0, 10}},
		{bond.OptArpIPTargets, "192.0.2.1,192.0.2.2", append(
			nl.NewRtAttr(0, []byte{192, 0, 2, 1}).Serialize(), nl.NewRtAttr(1, []byte{192, 0, 2, 2}).Serialize()...)},
	} {
		attr, err := encodeOption(bond.LookupOption(tc.name), tc.value, indexOfSome)
		if err != nil {
			t.Errorf("%s=%s: %v", tc.name, tc.value, err)
			continue
		}
		want := nl.NewRtAttr(int(bond.LookupOption(tc.name).Attr), tc.want).Serialize()
		if got := attr.Serialize(); string(got) != string(want) {
			t.Errorf("%s=%s: % x, want % x", tc.name, tc.value, got, want)
		}
	}
}

func TestOptionsRejected(t *testing.T) {
	for _, tc := range []struct {
		name  bond.Option
		value string
		class error
	}{
		{bond.OptMode, "7", nil},
		{bond.OptMode, "1", nil}, // a value, but not the canonical one
		{bond.OptMiimon, "-1", nil},
		{bond.OptNumPeerNotif, "256", nil},
		{bond.OptArpIPTargets, "192.0.2.2,192.0.2.1", nil},
		{bond.OptPrimary, "net3", bond.ErrGone},
	} {
		_, err := encodeOption(bond.LookupOption(tc.name), tc.value, indexOfSome)
		if err == nil || tc.class != nil && !errors.Is(err, tc.class) {
			t.Errorf("%s=%s: got %v", tc.name, tc.value, err)
		}
	}
}

func TestDecodeOptions(t *testing.T) {
	attr := func(name bond.Option, data []byte) []byte {
		return nl.NewRtAttr(int(bond.LookupOption(name).Attr), data).Serialize()
	}
	for _, tc := range []struct {
		name string
		data []byte
		want bond.Options
		fail bool
	}{
		{name: "lists that are not sent are empty", want: bond.Options{}},
		{name: "an unknown link is left out", data: attr(bond.OptPrimary, nl.Uint32Attr(99)), want: bond.Options{}},
		{name: "an enumeration's number without a name", data: attr(bond.OptMode, []byte{9}), want: bond.Options{bond.OptMode: "9"}},
		{name: "an unknown attribute", data: nl.NewRtAttr(4000, []byte{1}).Serialize(), want: bond.Options{}},
		{name: "zero actor system", data: attr(bond.OptAdActorSystem, make([]byte, 6)), want: bond.Options{bond.OptAdActorSystem: "00:00:00:00:00:00"}},
		{name: "a number of three bytes", data: attr(bond.OptMiimon, make([]byte, 3)), fail: true},
		{name: "a MAC of five bytes", data: attr(bond.OptAdActorSystem, make([]byte, 5)), fail: true},
		{name: "a cut attribute", data: attr(bond.OptMiimon, make([]byte, 4))[:6], fail: true},
	} {
		got, err := decodeOptions(tc.data, nameOfSome)
		if (err != nil) != tc.fail {
			t.Errorf("%s: error %v", tc.name, err)
		}
		if tc.fail {
			continue
		}
		tc.want[bond.OptArpIPTargets], tc.want[bond.OptNsIP6Targets] = "", ""
		if got.String() != tc.want.String() {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

// FuzzDecodeOptions: no input causes a panic, and decoded values that can be encoded are encoded the same.
func FuzzDecodeOptions(f *testing.F) {
	for i := range bond.OptionDefs() {
		d := &bond.OptionDefs()[i]
		for _, value := range values(d) {
			if attr, err := encodeOption(d, value, indexOfSome); err == nil {
				f.Add(attr.Serialize())
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := decodeOptions(data, nameOfSome)
		if err != nil {
			return
		}
		for _, name := range got.Names() {
			d := bond.LookupOption(name)
			if c, err := d.Parse(got[name]); err != nil || c != got[name] {
				continue // cannot be encoded
			}
			attr, err := encodeOption(d, got[name], indexOfSome)
			if err != nil {
				t.Fatalf("%s=%q was read and cannot be written: %v", name, got[name], err)
			}
			again, err := decodeOptions(attr.Serialize(), nameOfSome)
			if err != nil || again[name] != got[name] {
				t.Fatalf("%s=%q reads again as %q (%v)", name, got[name], again[name], err)
			}
		}
	})
}

func TestTargetsAreSplit(t *testing.T) {
	got := targets("192.0.2.1,2001:db8::1")
	want := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}
	if fmt.Sprint(got) != fmt.Sprint(want) || len(targets("")) != 0 {
		t.Errorf("got %v, want %v", got, want)
	}
	if _, ok := bond.LookupOption(bond.OptArpIPTargets).Parse(strings.Repeat("192.0.2.1,", 3)); ok == nil {
		t.Error("a list that ends with a comma has parsed")
	}
}

// TestOptionMismatch: an option that the kernel silently ignored is detected.
func TestOptionMismatch(t *testing.T) {
	requested := bond.Options{bond.OptMode: "active-backup", bond.OptMiimon: "100", bond.OptPrimary: "net1", bond.OptActiveSlave: "net1"}
	for _, tc := range []struct {
		name      string
		requested bond.Options // in addition to those
		have      bond.Options // in addition to those
		texts     []string
	}{
		{"all", nil, nil, nil},
		{"more than requested", nil, bond.Options{bond.OptMinLinks: "3"}, nil},
		{"not reported", bond.Options{bond.OptCoupledControl: "off"}, nil, []string{"coupledControl", "6.9"}},
		{"a list that the kernel does not know", bond.Options{bond.OptNsIP6Targets: "fe80::1"}, nil, []string{"nsIp6Targets", "5.19"}},
		{"no list requested", bond.Options{bond.OptNsIP6Targets: ""}, nil, nil},
		{"reported otherwise", bond.Options{bond.OptNumPeerNotif: "7"}, bond.Options{bond.OptNumPeerNotif: "1"}, []string{"numPeerNotif", `"7"`, `"1"`}},
		{"two", bond.Options{bond.OptCoupledControl: "off", bond.OptLacpActive: "off"}, nil, []string{"coupledControl", "lacpActive", "5.15"}},
	} {
		have := bond.Options{bond.OptMode: "active-backup", bond.OptMiimon: "100", bond.OptArpIPTargets: "", bond.OptNsIP6Targets: ""}
		want := requested.Clone()
		maps.Copy(want, tc.requested)
		maps.Copy(have, tc.have)
		err := optionMismatch(want, have)
		if (err != nil) != (len(tc.texts) > 0) || err != nil && !errors.Is(err, bond.ErrUnsupported) {
			t.Errorf("%s: %v", tc.name, err)
		}
		for _, word := range tc.texts {
			if !strings.Contains(fmt.Sprint(err), word) {
				t.Errorf("%s: %v does not say %q", tc.name, err, word)
			}
		}
	}
}
