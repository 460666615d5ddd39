package cnitest

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

var networkScenarios = []scenario{
	{"addresses and routes", networks, false},
	{"route fields", routeFields, false},
	{"gateways", gateways, false},
	{"route fields out of range", routeOutOfRange, false},
	{"duplicate address", duplicateAddress, false},
	{"IPv6 address survives down", ipv6SurvivesDown, false},
}

type object = map[string]any

// static is a config of the IPAM plugin static.
func static(addresses []string, routes ...any) object {
	ipam := object{"type": "static"}
	var list []any
	for _, a := range addresses {
		address, gateway, _ := strings.Cut(a, " via ")
		entry := object{"address": address}
		if gateway != "" {
			entry["gateway"] = gateway
		}
		list = append(list, entry)
	}
	if list != nil {
		ipam["addresses"] = list
	}
	if routes != nil {
		ipam["routes"] = routes
	}
	return ipam
}

// route is a route of an IPAM config: destination, gateway and further fields by name; an empty gateway is none.
func route(dst, gw string, fields ...any) object {
	r := object{"dst": dst}
	if gw != "" {
		r["gw"] = gw
	}
	for i := 0; i < len(fields); i += 2 {
		r[fields[i].(string)] = fields[i+1]
	}
	return r
}

// hostLocal is a config of the IPAM plugin host-local with a range per subnet that begins with its ninth address.
func (f *Fixture) hostLocal(subnets []string, routes ...any) object {
	var ranges []any
	for _, s := range subnets {
		first := netip.MustParsePrefix(s).Masked().Addr()
		for range 9 {
			first = first.Next()
		}
		ranges = append(ranges, []any{object{"subnet": netip.MustParsePrefix(s).Masked().String(), "rangeStart": first.String()}})
	}
	return object{"type": "host-local", "dataDir": f.Data, "ranges": ranges, "routes": routes}
}

type networkCase struct {
	name, version     string
	changes           object
	env               string // more CNI_ARGS
	addresses, routes []string
}

func (f *Fixture) networkCases() []networkCase {
	ips := func(list ...string) object { return object{"ips": list} }
	both := []string{"192.0.2.0/24", "2001:db8::/64"}
	every := []any{
		route("0.0.0.0/0", "", "table", 100, "mtu", 1400, "advmss", 1360, "priority", 50), route("203.0.113.0/24", "192.0.2.2", "mtu", 1300),
		route("10.1.0.0/16", "0.0.0.0", "scope", 253, "table", 100), route("2001:db8:1::/48", "2001:db8::1", "table", 101, "mtu", 1280, "advmss", 1220, "priority", 7),
		route("2001:db8:2::/48", "", "scope", 253, "mtu", 65520),
	}
	okdRoute := []string{"0.0.0.0/0 via 10.56.217.1"}
	return []networkCase{
		{"no IPAM", "1.1.0", object{"ipam": nil}, "", nil, nil},
		{"empty IPAM", "1.1.0", object{"ipam": object{}}, "", nil, nil},
		{"host-local, IPv4", "0.3.1", object{"ipam": f.hostLocal(both[:1], route("0.0.0.0/0", ""))}, "", []string{"192.0.2.9/24"}, []string{"0.0.0.0/0 via 192.0.2.1"}},
		{"host-local, IPv6", "0.4.0", object{"ipam": f.hostLocal(both[1:], route("::/0", ""))}, "", []string{"2001:db8::9/64"}, []string{"::/0 via 2001:db8::1"}},
		{"host-local, dual", "1.0.0", object{"ipam": f.hostLocal(both, route("0.0.0.0/0", ""), route("::/0", ""), route("203.0.113.0/24", "192.0.2.254"))}, "",
			[]string{"192.0.2.9/24", "2001:db8::9/64"}, []string{"0.0.0.0/0 via 192.0.2.1", "203.0.113.0/24 via 192.0.2.254", "::/0 via 2001:db8::1"}},
		{"host-local, several of each", "1.1.0", object{"ipam": f.hostLocal(append(both, "198.51.100.0/24", "2001:db8:5::/64"))}, "",
			[]string{"192.0.2.9/24", "198.51.100.9/24", "2001:db8:5::9/64", "2001:db8::9/64"}, nil},
		{"static, IPv4", "0.2.0", object{"ipam": static([]string{"192.0.2.7/24 via 192.0.2.1"}, route("0.0.0.0/0", ""))}, "", []string{"192.0.2.7/24"}, []string{"0.0.0.0/0 via 192.0.2.1"}},
		{"static, IPv6", "1.0.0", object{"ipam": static([]string{"2001:db8::7/64 via 2001:db8::1"}, route("2001:db8:9::/48", ""))}, "",
			[]string{"2001:db8::7/64"}, []string{"2001:db8:9::/48 via 2001:db8::1"}},
		{"static, several of each", "1.1.0", object{"ipam": static([]string{"10.1.0.5/16", "10.2.0.5/16", "2001:db8:2::5/64", "2001:db8::5/64"})}, "",
			[]string{"10.1.0.5/16", "10.2.0.5/16", "2001:db8:2::5/64", "2001:db8::5/64"}, nil},
		{"static, every field of a route", "1.1.0", object{"ipam": static([]string{"192.0.2.7/24 via 192.0.2.1", "198.51.100.7/32", "2001:db8::7/64"}, every...)}, "",
			[]string{"192.0.2.7/24", "198.51.100.7/32", "2001:db8::7/64"}, []string{
				"0.0.0.0/0 via 192.0.2.1 table 100 metric 50 mtu 1400 advmss 1360", "10.1.0.0/16 table 100 scope link",
				"2001:db8:1::/48 via 2001:db8::1 table 101 metric 7 mtu 1280 advmss 1220", "2001:db8:2::/48 mtu 65520", "203.0.113.0/24 via 192.0.2.2 mtu 1300",
			}},
		{"runtimeConfig.ips, static", "1.1.0", object{"ipam": static(nil), "capabilities": map[string]bool{"ips": true}, "runtimeConfig": ips("10.3.0.7/24", "2001:db8::7/64")}, "",
			[]string{"10.3.0.7/24", "2001:db8::7/64"}, nil},
		{"args.cni.ips, static", "1.1.0", object{"ipam": static(nil), "args": object{"cni": ips("10.3.0.8/24")}}, "", []string{"10.3.0.8/24"}, nil},
		{"runtimeConfig.ips, host-local", "1.1.0", object{"runtimeConfig": ips("10.56.217.77")}, "", []string{"10.56.217.77/24"}, okdRoute},
		{"args.cni.ips, host-local", "1.1.0", object{"args": object{"cni": ips("10.56.217.78")}}, "", []string{"10.56.217.78/24"}, okdRoute},
		{"IP in CNI_ARGS, host-local", "1.1.0", nil, "IP=10.56.217.79", []string{"10.56.217.79/24"}, okdRoute},
		{"IP in CNI_ARGS, static", "1.1.0", object{"ipam": static(nil)}, "IP=10.3.0.9/24;GATEWAY=10.3.0.1", []string{"10.3.0.9/24"}, nil},
	}
}

// networks: the results of the IPAM plugins are on the bond, in the record and in the result, and pass CHECK.
func networks(f *Fixture) {
	pod := f.Pod("p1", 0)
	before := f.LinkState()
	for i, tt := range f.networkCases() {
		if f.Skips(tt.name, "empty IPAM", "host-local, IPv4", "host-local, IPv6", "host-local, dual", "host-local, several of each", "static, IPv4", "static, IPv6", "static, every field of a route") {
			continue
		}
		f.Run(tt.name, func(f *Fixture) {
			changes := object{"cniVersion": tt.version, "name": "net-" + strconv.Itoa(i)} // host-local remembers the last address of a network
			maps.Copy(changes, tt.changes)
			args := f.Args("c1", pod, f.Config(changes))
			if tt.env != "" {
				args.Args += ";" + tt.env
			}
			result := f.MustAdd(args)
			var got []string
			for _, ip := range result.IPs {
				got = append(got, ip.Address.String())
				if tt.version != "0.2.0" && (ip.Interface == nil || result.Interfaces[*ip.Interface].Name != "bond0") {
					f.Errorf("%s is not the bond's: %v", ip.Address.String(), ip)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, tt.addresses) || !slices.Equal(f.Addresses(pod, "bond0"), tt.addresses) {
				f.Errorf("result has addresses %q, the bond %q, want %q", got, f.Addresses(pod, "bond0"), tt.addresses)
			}
			if routes := f.Routes(pod, "bond0"); !slices.Equal(routes, tt.routes) || len(result.Routes) != len(tt.routes) {
				f.Errorf("result has routes %v, the bond %q, want %q", result.Routes, routes, tt.routes)
			}
			if tt.version != "0.2.0" { // its results have no interfaces
				f.MustCheck(args, result)
			}
			f.MustDel(args)
			f.WantNothingLeft(before)
		})
	}
}

// routeFields: every field of a route of CNI 1.1 is in the record and in the result.
func routeFields(f *Fixture) {
	pod := f.Pod("p1", 0)
	ipam := static([]string{"10.1.0.5/16", "2001:db8::5/64"}, route("0.0.0.0/0", "10.1.0.1", "mtu", 1400, "advmss", 1360, "priority", 50, "table", 100),
		route("192.0.2.0/24", "", "scope", 253), route("2001:db8:1::/48", "2001:db8::1", "priority", 7))
	result := f.MustAdd(f.Args("c1", pod, f.Config(object{"cniVersion": "1.1.0", "ipam": ipam})))
	want := []bond.Route{
		{Dst: netip.MustParsePrefix("192.0.2.0/24"), Scope: new(253)}, // first, as a gateway may be behind it
		{Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.1.0.1"), MTU: 1400, AdvMSS: 1360, Priority: 50, Table: new(100)},
		{Dst: netip.MustParsePrefix("2001:db8:1::/48"), Gateway: netip.MustParseAddr("2001:db8::1"), Priority: 7},
	}
	if diff := cmp.Diff(want, f.Record("c1").Routes, cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})); diff != "" {
		f.Errorf("record (-want +got):\n%s", diff)
	}
	if r := result.Routes[0]; r.MTU != 1400 || r.AdvMSS != 1360 || r.Priority != 50 || r.Table == nil || *r.Table != 100 {
		f.Errorf("result: %v", r)
	}
	if r := result.Routes[1]; r.Scope == nil || *r.Scope != 253 {
		f.Errorf("result: %v", r)
	}
}

// gateways: a gateway that the kernel would reject fails ADD immediately, with the code for an invalid config. The
// error names route and gateway, and nothing is left.
func gateways(f *Fixture) {
	pod := f.Pod("p1", 0)
	before := f.LinkState()
	v4, v6 := []string{"10.1.0.5/24"}, []string{"2001:db8::5/64"}
	for _, tt := range []struct {
		name  string
		ipam  object
		parts []string // of the error; nil if ADD succeeds
	}{
		{"in the subnet", static(v4, route("0.0.0.0/0", "10.1.0.1")), nil},
		{"outside", static(v4, route("192.0.2.0/24", "10.9.0.1")), []string{"192.0.2.0/24", "10.9.0.1", "10.1.0.5/24", "not in the subnet"}},
		{"outside, of the address", static([]string{"10.1.0.5/24 via 10.9.0.1"}, route("0.0.0.0/0", "")), []string{"0.0.0.0/0", "10.9.0.1"}},
		{"outside and not used", static([]string{"10.1.0.5/24 via 10.9.0.1"}), nil},
		{"outside, host-local", f.hostLocal(v4, route("192.0.2.0/24", "10.9.0.1")), []string{"192.0.2.0/24", "10.9.0.1"}},
		{"behind a route of the host", static([]string{"10.1.0.5/32 via 10.9.0.1"}, route("0.0.0.0/0", "10.9.0.1"), route("10.9.0.1/32", "0.0.0.0")), nil},
		{"behind a route in another table", static(v4, route("192.0.2.0/24", "10.9.0.1"), route("10.9.0.0/24", "", "table", 7, "scope", 253)), []string{"192.0.2.0/24", "10.9.0.1"}},
		{"behind a gateway", static(v4, route("10.9.0.0/24", "10.1.0.1"), route("192.0.2.0/24", "10.9.0.1")), []string{"192.0.2.0/24", "10.9.0.1"}},
		{"IPv6", static(v6, route("::/0", "2001:db8::1")), nil},
		{"IPv6, link-local", static(v6, route("::/0", "fe80::1")), nil},
		{"IPv6, outside", static(v6, route("::/0", "2001:db8:9::1")), []string{"::/0", "2001:db8:9::1"}},
		{"IPv6, outside, host-local", f.hostLocal(v6, route("2001:db8:1::/48", "2001:db8:9::1")), []string{"2001:db8:1::/48", "2001:db8:9::1"}},
		{"IPv6, its own", static(v6, route("::/0", "2001:db8::5")), []string{"::/0", "2001:db8::5", "itself"}},
		{"of the other family", static(v4, route("192.0.2.0/24", "2001:db8::1")), []string{"192.0.2.0/24", "2001:db8::1", "IPv4"}},
		{"of the other family, IPv6", static(v6, route("2001:db8:1::/48", "10.1.0.1")), []string{"2001:db8:1::/48", "10.1.0.1", "IPv6"}},
	} {
		if f.Skips(tt.name, "outside, host-local", "behind a route of the host", "IPv6, outside, host-local") {
			continue
		}
		f.Run(tt.name, func(f *Fixture) {
			args := f.Args("c1", pod, f.Config(object{"cniVersion": "1.1.0", "ipam": tt.ipam}))
			if tt.parts != nil {
				_, err := f.Add(args)
				WantError(f, err, types.ErrInvalidNetworkConfig, append(tt.parts, "IPAM ADD")...)
				f.WantNothingLeft(before)
				return
			}
			f.MustAdd(args)
			routes, _ := tt.ipam["routes"].([]any)
			if got := f.Routes(pod, "bond0"); len(got) != len(routes) {
				f.Errorf("routes %q", got)
			}
			f.MustDel(args)
			f.WantNothingLeft(before)
		})
	}
}

// routeOutOfRange: a value that does not fit into the kernel's field is rejected, not truncated.
func routeOutOfRange(f *Fixture) {
	pod := f.Pod("p1", 0)
	before := f.LinkState()
	for field, value := range map[string]int64{"scope": 256, "table": -1, "mtu": 65521, "advmss": 65496, "priority": 1 << 32} {
		if f.Skips(field, "scope") {
			continue
		}
		ipam := f.hostLocal([]string{"10.0.0.0/24"}, route("192.0.2.0/24", "", field, value))
		_, err := f.Add(f.Args("c1", pod, f.Config(object{"cniVersion": "1.1.0", "ipam": ipam})))
		WantError(f, err, types.ErrDecodingFailure, "IPAM ADD", "routes[0]: "+field, strconv.FormatInt(value, 10), "want 0 to ")
		f.WantNothingLeft(before)
	}
}

// duplicateAddress: if another host on the network has the address, ADD fails with an error that names it, and leaves
// nothing. With dad false the address is used.
func duplicateAddress(f *Fixture) {
	pod := f.Pod("p1", 0)
	f.Occupy(netip.MustParseAddr("2001:db8::5"))
	for _, name := range []string{"net1", "net2"} { // as sriov-cni leaves them, so that the bond has carrier during ADD
		f.Must(f.SetUp(pod, name))
		f.Eventually("carrier of "+name, func() bool { return f.LinkAt(pod, name).Carrier })
	}
	before := f.LinkState()
	ipam := static([]string{"2001:db8::5/64 via 2001:db8::1"})
	args := f.Args("c1", pod, f.Config(object{"ipam": ipam}))
	_, err := f.Add(args)
	WantError(f, err, types.ErrInternal, "2001:db8::5/64", "duplicate address detection")
	f.WantNothingLeft(before)
	args.StdinData = f.Config(object{"ipam": ipam, "dad": false})
	f.MustAdd(args)
	f.MustDel(args)
	f.WantNothingLeft(before)
}

// ipv6SurvivesDown: without an agent, an IPv6 address stays on the bond when it is set down and up.
func ipv6SurvivesDown(f *Fixture) {
	pod := f.Pod("p1", 0)
	want := []string{"2001:db8::5/64"}
	for _, dad := range []bool{true, false} {
		args := f.Args("c1", pod, f.Config(object{"dad": dad, "ipam": static([]string{"2001:db8::5/64 via 2001:db8::1"})}))
		f.MustAdd(args)
		if got := f.Addresses(pod, "bond0"); !slices.Equal(got, want) {
			f.Errorf("addresses after ADD: %q", got)
		}
		f.Must(f.SetDown(pod, "bond0"), f.SetUp(pod, "bond0"))
		if got := f.Addresses(pod, "bond0"); !slices.Equal(got, want) {
			f.Errorf("addresses after down and up: %q", got)
		}
		f.MustDel(args)
	}
}
