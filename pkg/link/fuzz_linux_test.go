package link

import (
	"encoding/json"
	"maps"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/bond/bondtest"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// nested is an attribute that contains others.
func nested(typ int, attrs ...*nl.RtAttr) *nl.RtAttr {
	a := nl.NewRtAttr(typ, nil)
	for _, inner := range attrs {
		a.AddRtAttr(int(inner.Type), inner.Data)
	}
	return a
}

// seedDevices are link messages with every decoded attribute.
func seedDevices() [][]byte {
	mac := []byte{2, 0, 0, 0, 0, 1}
	basic := append(parent(string(someVF), "pci"),
		nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated("net1")), nl.NewRtAttr(unix.IFLA_ADDRESS, mac),
		nl.NewRtAttr(unix.IFLA_PERM_ADDRESS, mac), nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(1500)),
		nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(9)), nl.NewRtAttr(unix.IFLA_TXQLEN, nl.Uint32Attr(1000)),
		nl.NewRtAttr(unix.IFLA_IFALIAS, []byte("alias")), nl.NewRtAttr(unix.IFLA_PHYS_PORT_NAME, nl.ZeroTerminated("pf0vf1")),
		nested(unix.IFLA_PROP_LIST, nl.NewRtAttr(unix.IFLA_ALT_IFNAME, nl.ZeroTerminated("other"))))
	sysctls := nested(unix.IFLA_AF_SPEC,
		nl.NewRtAttr(unix.AF_INET, nl.NewRtAttr(iflaInetConf, make([]byte, 33*4)).Serialize()),
		nl.NewRtAttr(unix.AF_INET6, nl.NewRtAttr(iflaInet6Conf, make([]byte, 60*4)).Serialize()))
	slave := nested(unix.IFLA_LINKINFO,
		nl.NewRtAttr(unix.IFLA_INFO_SLAVE_KIND, nl.ZeroTerminated("bond")),
		nl.NewRtAttr(unix.IFLA_INFO_SLAVE_DATA, nested(0,
			nl.NewRtAttr(bondSlaveMIIStatus, []byte{0}), nl.NewRtAttr(bondSlaveQueueID, nl.Uint16Attr(1)),
			nl.NewRtAttr(bondSlavePrio, nl.Uint32Attr(7))).Serialize()[4:]))
	vfs := nl.NewRtAttr(unix.IFLA_VFINFO_LIST, reported(bond.VFSettings{}, allSettings()).vfList)
	return [][]byte{
		make([]byte, unix.SizeofIfInfomsg), message(basic...), message(sysctls), message(slave), message(vfs),
		message(nl.NewRtAttr(unix.IFLA_IFNAME, []byte("a\xff\x1b\x00"))),
	}
}

// FuzzParseDevice: any link message results in an error that can be logged, or in a link. Its texts are bounded, its
// PCI address is canonical, and its settings are the same after a record was saved and loaded.
func FuzzParseDevice(f *testing.F) {
	for _, m := range seedDevices() {
		f.Add(m)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := parseDevice(data)
		if err != nil {
			bondtest.ErrorText(t, err)
			return
		}
		if d.PCI != "" {
			if p, wrong := bond.ParsePCIAddress(string(d.PCI)); wrong != nil || p != d.PCI {
				t.Fatalf("PCI address %q: %v", d.PCI, wrong)
			}
		}
		for _, text := range append([]string{d.Name, d.Alias, d.Kind, d.portName}, d.altNames...) {
			if len(text) > len(data) || strings.ContainsRune(text, 0) {
				t.Fatalf("text %q", text)
			}
		}
		for _, mac := range []bond.MAC{d.MAC, d.PermMAC} {
			if mac != "" && bond.MACOf(mac.Bytes()) != mac {
				t.Fatalf("MAC %q", mac)
			}
		}
		settings, err := d.linkSettings()
		bondtest.ErrorText(t, err)
		l := &bond.Learned{Settings: settings}
		if len(settings.IPv4) == 0 {
			l.Settings.IPv4 = nil // a record does not distinguish nil and empty
		}
		if len(settings.IPv6) == 0 {
			l.Settings.IPv6 = nil
		}
		if u := upperOf(d); u != nil {
			l.Upper = u
		}
		bondtest.RoundTrip(t, l)
	})
}

// FuzzVFSettings: writing what a PF reports about a VF does not change what it reports.
func FuzzVFSettings(f *testing.F) {
	f.Add(reported(bond.VFSettings{}, allSettings()).vfList, uint8(1))
	f.Add(reported(allSettings()).vfList, uint8(0))
	f.Add([]byte{3, 0, 1, 0}, uint8(0))
	f.Fuzz(func(t *testing.T, list []byte, number uint8) {
		d := &device{vfList: list}
		s, err := d.vfSettings(int(number))
		if err != nil {
			bondtest.ErrorText(t, err)
			return
		}
		written := nl.NewRtAttr(nl.IFLA_VF_INFO, nil)
		if s.MAC == nil {
			t.Fatal("VF found without its MAC, which has its number")
		}
		if v := s.VLAN; v != nil && vlanAttr(v) == nl.IFLA_VF_VLAN_LIST {
			written.AddRtAttr(nl.IFLA_VF_VLAN, vlanData(uint32(number), &bond.VLAN{ID: v.ID, QoS: v.QoS}))
		} else if v != nil {
			v.Proto = 0 // the default, which the older attribute does not have
		}
		for _, a := range vfAttrs(int(number), s) {
			written.AddRtAttr(a.typ, a.data)
		}
		again, _, err := parseVF(written.Serialize()[unix.SizeofNlAttr:])
		if err != nil || !reflect.DeepEqual(again, s) {
			t.Fatalf("%s was written and reads as %s (%v)", s, again, err)
		}
	})
}

// FuzzParseAddress: any address message results in an error that can be logged, no address, or one that a record can
// store.
func FuzzParseAddress(f *testing.F) {
	seed := func(family, prefix int, attrs ...*nl.RtAttr) {
		m := nl.NewIfAddrmsg(family)
		m.Index, m.Prefixlen = 7, uint8(prefix) //nolint:gosec // of the test
		b := m.Serialize()
		for _, a := range attrs {
			b = append(b, a.Serialize()...)
		}
		f.Add(b)
	}
	four, six := []byte{192, 0, 2, 1}, netip.MustParseAddr("2001:db8::1").AsSlice()
	mapped := netip.MustParseAddr("::ffff:192.0.2.1").AsSlice()
	seed(unix.AF_INET, 24, nl.NewRtAttr(unix.IFA_LOCAL, four), nl.NewRtAttr(unix.IFA_ADDRESS, four), nl.NewRtAttr(unix.IFA_FLAGS, nl.Uint32Attr(128)))
	seed(unix.AF_INET6, 64, nl.NewRtAttr(unix.IFA_ADDRESS, six), nl.NewRtAttr(ifaProto, []byte{2}))
	seed(unix.AF_INET6, 96, nl.NewRtAttr(unix.IFA_ADDRESS, mapped))
	seed(unix.AF_INET6, 24, nl.NewRtAttr(unix.IFA_LOCAL, four))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := parseAddress(data)
		if err != nil {
			bondtest.ErrorText(t, err)
			return
		}
		if !a.Prefix.IsValid() {
			return
		}
		if got := ipNet(a.Prefix); len(got.IP) != len(got.Mask) {
			t.Fatalf("address %v cannot be written: %v", a.Prefix, got)
		}
		bondtest.RoundTrip(t, &bond.Learned{Addresses: []netip.Prefix{a.Prefix}, NoPrefixRoute: []netip.Prefix{a.Prefix.Masked()}})
	})
}

// FuzzParseRoute: any route message results in an error that can be logged, or in routes that a record can store and
// that can be restored: destination, gateway and source have the message's family.
func FuzzParseRoute(f *testing.F) {
	seed := func(family, length uint8, attrs ...*nl.RtAttr) {
		b := (&nl.RtMsg{RtMsg: unix.RtMsg{Family: family, Dst_len: length, Table: unix.RT_TABLE_MAIN, Type: unix.RTN_UNICAST, Protocol: unix.RTPROT_BOOT}}).Serialize()
		for _, a := range attrs {
			b = append(b, a.Serialize()...)
		}
		f.Add(b)
	}
	oif := nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(7))
	four, six := []byte{192, 0, 2, 0}, netip.MustParseAddr("2001:db8::").AsSlice()
	seed(unix.AF_INET, 24, nl.NewRtAttr(unix.RTA_DST, four), oif, nl.NewRtAttr(unix.RTA_PREFSRC, four), nl.NewRtAttr(unix.RTA_TABLE, nl.Uint32Attr(1001)))
	seed(unix.AF_INET6, 64, nl.NewRtAttr(unix.RTA_DST, six), oif, nl.NewRtAttr(unix.RTA_GATEWAY, six), nl.NewRtAttr(unix.RTA_PRIORITY, nl.Uint32Attr(1024)))
	seed(unix.AF_INET, 0, oif, nl.NewRtAttr(unix.RTA_GATEWAY, six))
	seed(unix.AF_INET, 33, nl.NewRtAttr(unix.RTA_DST, six), oif)
	seed(unix.AF_INET, 0, oif, nested(unix.RTA_METRICS, nl.NewRtAttr(unix.RTAX_MTU, nl.Uint32Attr(1400)), nl.NewRtAttr(unix.RTAX_ADVMSS, nl.Uint32Attr(1360))))
	hop := append([]byte{16, 0, unix.RTNH_F_ONLINK, 0, 7, 0, 0, 0}, nl.NewRtAttr(unix.RTA_GATEWAY, four).Serialize()...)
	seed(unix.AF_INET, 0, nl.NewRtAttr(unix.RTA_MULTIPATH, append(hop, hop...)))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseRoute(data)
		if err != nil {
			bondtest.ErrorText(t, err)
			return
		}
		bits := map[uint8]int{unix.AF_INET: 32, unix.AF_INET6: 128}[r.family]
		var routes []bond.Route
		r.via(7, func(one bond.Route) { routes = append(routes, one) })
		if len(routes) > len(data) {
			t.Fatalf("%d routes from %d bytes", len(routes), len(data))
		}
		for _, one := range routes {
			_ = routeOf(&device{}, one)
			for _, a := range []netip.Addr{one.Dst.Addr(), one.Gateway, one.Src} {
				if bits != 0 && a.IsValid() && a.BitLen() != bits {
					t.Fatalf("route %v (source %v) has an address of another family", one, one.Src)
				}
			}
		}
		var recorded []bond.Route
		for _, r := range routes {
			if !r.Special { // special ones are only counted
				recorded = append(recorded, r)
			}
		}
		bondtest.RoundTrip(t, &bond.Learned{Routes: recorded})
	})
}

// FuzzBitset: any set of bits results in an error that can be logged, or in settings that are the same after a record
// was saved and loaded.
func FuzzBitset(f *testing.F) {
	one := nested(unix.ETHTOOL_A_BITSET_BITS_BIT, nl.NewRtAttr(unix.ETHTOOL_A_BITSET_BIT_NAME, nl.ZeroTerminated("one")),
		nl.NewRtAttr(unix.ETHTOOL_A_BITSET_BIT_VALUE, nil))
	other := nested(unix.ETHTOOL_A_BITSET_BITS_BIT, nl.NewRtAttr(unix.ETHTOOL_A_BITSET_BIT_NAME, []byte("\xff\x1b")))
	bits := nested(unix.ETHTOOL_A_BITSET_BITS, one, other).Serialize()
	f.Add(bits)
	f.Add(append(nl.NewRtAttr(unix.ETHTOOL_A_BITSET_NOMASK, nil).Serialize(), bits...))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := bitset(data)
		if err != nil {
			bondtest.ErrorText(t, err)
			return
		}
		e := ethtoolReader{out: bond.Ethtool{}}
		for name, on := range set {
			e.set(name, onOff[on])
		}
		stored, err := json.Marshal(e.out)
		kit.Must(t, err)
		loaded := bond.Ethtool{}
		kit.Must(t, json.Unmarshal(stored, &loaded))
		if len(loaded) > bond.MaxEthtool || !maps.Equal(loaded, e.out) {
			t.Fatalf("%d settings %q are %q when loaded", len(loaded), e.out, loaded)
		}
	})
}
