package link

import (
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestEthtoolOfAVeth compares what is read with what ethtool(8) prints and sets.
func TestEthtoolOfAVeth(t *testing.T) {
	if _, err := exec.LookPath("ethtool"); err != nil {
		t.Skipf("make deps installs it: %v", err)
	}
	g := newFixture(t)
	g.veth(g.pod, "net1")
	c := g.conn()
	read := func() bond.Ethtool {
		t.Helper()
		d, err := c.byName("net1", false)
		kit.Must(t, err)
		e, err := c.ethtool(&d.Link)
		kit.Must(t, err)
		return e
	}
	before := read()
	printed, err := kit.Run(g.pod, "ethtool", "-k", "net1")
	kit.Must(t, err)
	features := 0
	for name, value := range before {
		feature, is := strings.CutPrefix(name, "feature ")
		if _, legacy := legacyNames[feature]; !is || legacy {
			continue
		}
		features++
		if !strings.Contains(string(printed), feature+": "+value+"\n") {
			t.Errorf("%s is %s, which ethtool does not print", feature, value)
		}
	}
	if features < 10 || before["channels rx"] != "1" || before["feature "+featureLRO] != "" {
		t.Errorf("read %q", before)
	}
	for setting, value := range map[string]string{"feature tx-checksum-ip-generic": "off", "feature rx-gro-list": "on"} {
		kit.Must(t, kit.Links{}.SetEthtool(g.pod, "net1", setting, value))
		if got := read().Without(before); !slices.Equal(got.Strings(), []string{setting + " " + value}) {
			t.Errorf("after ethtool has set %s %s: %q", setting, value, got)
		}
		before = read()
	}
	d, err := c.byName("net1", false)
	kit.Must(t, err)
	g.batch("link del net1\n")
	if e, err := c.ethtool(&d.Link); err == nil {
		t.Errorf("a link that is gone has %q", e)
	}
}

// legacyNames are features that ethtool(8) prints by other names than the kernel's.
var legacyNames = map[string]string{
	"rx-checksum": "rx-checksumming", "rx-gro": "generic-receive-offload", "tx-generic-segmentation": "generic-segmentation-offload",
	"rx-vlan-hw-parse": "rx-vlan-offload", "tx-vlan-hw-insert": "tx-vlan-offload", "rx-hashing": "receive-hashing",
	"rx-ntuple-filter": "ntuple-filters", "rx-lro": "large-receive-offload",
}

// TestEthtoolThatIsChosen: interrupt rates are settings only without adaptive coalescing, pause only without
// negotiation.
func TestEthtoolThatIsChosen(t *testing.T) {
	e := bond.Ethtool{
		"coalesce adaptive-rx": "on", "coalesce rx-usecs": "17", "coalesce rx-frames": "9", "coalesce rx-usecs-high": "80",
		"coalesce adaptive-tx": "off", "coalesce tx-usecs": "8", "pause autoneg": "on", "pause rx": "on", "pause tx": "off",
	}
	dropChosen(e)
	want := []string{"coalesce adaptive-rx on", "coalesce adaptive-tx off", "coalesce rx-usecs-high 80", "coalesce tx-usecs 8", "pause autoneg on"}
	if got := e.Strings(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestBitset: a list has the bits that are set, a set with a mask all of them.
func TestBitset(t *testing.T) {
	attr := func(typ byte, v ...byte) []byte {
		padded := append(slices.Clone(v), make([]byte, (4-len(v)%4)%4)...)
		return append([]byte{byte(len(v) + 4), 0, typ, 0}, padded...)
	}
	one, two := attr(1, append(attr(2, 'o', 'n', 'e', 0), attr(3)...)...), attr(1, attr(2, 't', 'w', 'o', 0)...)
	bits := attr(3, append(one, two...)...)
	for what, c := range map[string]struct {
		in   []byte
		want map[string]bool
	}{
		"list":      {append(attr(1), bits...), map[string]bool{"one": true, "two": true}},
		"with mask": {bits, map[string]bool{"one": true, "two": false}},
	} {
		if got, err := bitset(c.in); err != nil || !maps.Equal(got, c.want) {
			t.Errorf("%s: %v (%v), want %v", what, got, err, c.want)
		}
	}
	if _, err := bitset(bits[:len(bits)-4]); err == nil {
		t.Error("a cut set is no error")
	}
}

// BenchmarkEthtool is one link's settings, which a resync reads; BenchmarkLink is one request for comparison.
func BenchmarkEthtool(b *testing.B) {
	g := newFixture(b)
	g.veth(g.pod, "net1")
	c := g.conn()
	d, err := c.byName("net1", false)
	kit.Must(b, err)
	b.Run("settings", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, err := c.ethtool(&d.Link)
			kit.Must(b, err)
		}
	})
	b.Run("link", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, err := c.deviceByIndex(d.Index)
			kit.Must(b, err)
		}
	})
}
