package cni

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/google/go-cmp/cmp"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// fullRoutes are routes with every field that CNI 1.1 gives them.
var fullRoutes = []any{
	map[string]any{"dst": "0.0.0.0/0", "gw": "10.1.0.1", "mtu": 1400, "advmss": 1360, "priority": 50, "table": 100},
	map[string]any{"dst": "192.0.2.0/24", "scope": 253},
	map[string]any{"dst": "2001:db8:1::/48", "gw": "2001:db8::1", "priority": 7},
}

// TestNetworks: what the IPAM plugins give in answer to what pods and networks ask for is on the bond,
// in the record and in the result, and passes CHECK.
func TestNetworks(t *testing.T) {
	static := func(fields map[string]any) map[string]any { fields["type"] = "static"; return fields }
	addresses := func(list ...string) []any {
		var out []any
		for _, a := range list {
			out = append(out, map[string]any{"address": a})
		}
		return out
	}
	tests := []struct {
		name    string
		changes map[string]any
		env     string // more CNI_ARGS
		ips     []string
		routes  int
	}{
		{"no IPAM", map[string]any{"ipam": nil}, "", nil, 0},
		{"empty IPAM", map[string]any{"ipam": map[string]any{}}, "", nil, 0},
		{"IPv4", map[string]any{"ipam": static(map[string]any{"addresses": addresses("10.1.0.5/16")})}, "", []string{"10.1.0.5/16"}, 0},
		{"IPv6", map[string]any{"ipam": static(map[string]any{"addresses": addresses("2001:db8::5/64")})}, "", []string{"2001:db8::5/64"}, 0},
		{"dual, several of each", map[string]any{"ipam": static(map[string]any{"addresses": addresses("10.1.0.5/16", "10.2.0.5/16", "2001:db8::5/64", "2001:db8:2::5/64")})},
			"", []string{"10.1.0.5/16", "10.2.0.5/16", "2001:db8::5/64", "2001:db8:2::5/64"}, 0},
		{"routes in full", map[string]any{"ipam": static(map[string]any{"addresses": addresses("10.1.0.5/16", "2001:db8::5/64"), "routes": fullRoutes})},
			"", []string{"10.1.0.5/16", "2001:db8::5/64"}, 3},
		{"runtimeConfig.ips, static", map[string]any{"ipam": static(map[string]any{}), "capabilities": map[string]bool{"ips": true}, "runtimeConfig": map[string]any{"ips": []string{"10.3.0.7/24", "2001:db8::7/64"}}},
			"", []string{"10.3.0.7/24", "2001:db8::7/64"}, 0},
		{"args.cni.ips, static", map[string]any{"ipam": static(map[string]any{}), "args": map[string]any{"cni": map[string]any{"ips": []string{"10.3.0.8/24"}}}},
			"", []string{"10.3.0.8/24"}, 0},
		{"runtimeConfig.ips, host-local", map[string]any{"runtimeConfig": map[string]any{"ips": []string{"10.56.217.77"}}}, "", []string{"10.56.217.77/24"}, 1},
		{"args.cni.ips, host-local", map[string]any{"args": map[string]any{"cni": map[string]any{"ips": []string{"10.56.217.78"}}}}, "", []string{"10.56.217.78/24"}, 1},
		{"IP in CNI_ARGS, host-local", nil, "IP=10.56.217.79", []string{"10.56.217.79/24"}, 1},
		{"IP in CNI_ARGS, static", map[string]any{"ipam": static(map[string]any{})}, "IP=10.3.0.9/24;GATEWAY=10.3.0.1", []string{"10.3.0.9/24"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t, 1)
			pod := n.pod("p1", 0)
			before := n.String()
			changes := map[string]any{"cniVersion": "1.1.0"}
			for k, v := range tt.changes {
				changes[k] = v
			}
			args := n.args("c1", pod, n.config(changes))
			if tt.env != "" {
				args.Args += ";" + tt.env
			}
			result := n.mustAdd(args)
			n.wantIPs(result, tt.ips)
			if len(result.Routes) != tt.routes {
				t.Errorf("routes %v, want %d", result.Routes, tt.routes)
			}
			check := n.args("c1", pod, n.withPrev(args.StdinData, result))
			check.Args = args.Args
			if err := n.plugin.Funcs().Check(check); err != nil {
				t.Errorf("CHECK: %v", err)
			}
			n.mustDel(args)
			n.nothingLeft(before)
		})
	}
}

// wantIPs wants addresses in the result, each with the bond's index, and on the bond.
func (n *node) wantIPs(result *current.Result, want []string) {
	n.t.Helper()
	var got []string
	for _, ip := range result.IPs {
		got = append(got, ip.Address.String())
		if ip.Interface == nil || result.Interfaces[*ip.Interface].Name != "bond0" {
			n.t.Errorf("%s is not the bond's: %v", ip.Address.String(), ip)
		}
	}
	if !cmp.Equal(got, want) {
		n.t.Errorf("result's addresses: %v, want %v", got, want)
	}
	obs, err := n.Observe(n.t.Context(), n.record("c1"))
	n.must(err)
	for _, a := range want {
		if !slices.Contains(obs.Bond.Addresses, netip.MustParsePrefix(a)) {
			n.t.Errorf("the bond has %v and not %s", obs.Bond.Addresses, a)
		}
	}
}

// TestRouteFields: every field of a route of CNI 1.1 comes through to the kernel and to the result.
func TestRouteFields(t *testing.T) {
	n := newNode(t, 1)
	pod := n.pod("p1", 0)
	ipam := map[string]any{"type": "static", "routes": fullRoutes, "addresses": []any{map[string]string{"address": "10.1.0.5/16"}, map[string]string{"address": "2001:db8::5/64"}}}
	result := n.mustAdd(n.args("c1", pod, n.config(map[string]any{"cniVersion": "1.1.0", "ipam": ipam})))
	want := []bond.Route{
		{Dst: netip.MustParsePrefix("192.0.2.0/24"), Scope: new(253)}, // first, as a gateway may be behind it
		{Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.1.0.1"), MTU: 1400, AdvMSS: 1360, Priority: 50, Table: new(100)},
		{Dst: netip.MustParsePrefix("2001:db8:1::/48"), Gateway: netip.MustParseAddr("2001:db8::1"), Priority: 7},
	}
	same := cmp.Options{cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })}
	if diff := cmp.Diff(want, n.record("c1").Routes, same); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	if r := result.Routes[0]; r.MTU != 1400 || r.AdvMSS != 1360 || r.Priority != 50 || r.Table == nil || *r.Table != 100 {
		t.Errorf("result: %v", r)
	}
	if r := result.Routes[1]; r.Scope == nil || *r.Scope != 253 {
		t.Errorf("result: %v", r)
	}
}

// TestGateways: a gateway that the kernel would reject fails ADD at once, naming route and gateway, and leaves nothing.
func TestGateways(t *testing.T) {
	address := func(list ...string) []any {
		var out []any
		for i := 0; i < len(list); i += 2 {
			a := map[string]any{"address": list[i]}
			if list[i+1] != "" {
				a["gateway"] = list[i+1]
			}
			out = append(out, a)
		}
		return out
	}
	route := func(kv ...any) map[string]any {
		r := map[string]any{}
		for i := 0; i < len(kv); i += 2 {
			r[kv[i].(string)] = kv[i+1]
		}
		return r
	}
	v4, v6 := address("10.1.0.5/24", ""), address("2001:db8::5/64", "")
	tests := []struct {
		name      string
		addresses []any
		routes    []any
		want      []string // in the error; nil if ADD succeeds
	}{
		{"in the subnet", v4, []any{route("dst", "0.0.0.0/0", "gw", "10.1.0.1")}, nil},
		{"outside", v4, []any{route("dst", "192.0.2.0/24", "gw", "10.9.0.1")}, []string{"192.0.2.0/24", "10.9.0.1", "10.1.0.5/24"}},
		{"outside, of the address", address("10.1.0.5/24", "10.9.0.1"), []any{route("dst", "0.0.0.0/0")}, []string{"0.0.0.0/0", "10.9.0.1"}},
		{"outside and not used", address("10.1.0.5/24", "10.9.0.1"), nil, nil},
		{"behind a route of the host", address("10.1.0.5/32", "10.9.0.1"), []any{route("dst", "0.0.0.0/0", "gw", "10.9.0.1"), route("dst", "10.9.0.1/32", "gw", "0.0.0.0")}, nil},
		{"behind a route in another table", v4, []any{route("dst", "192.0.2.0/24", "gw", "10.9.0.1"), route("dst", "10.9.0.0/24", "table", 7, "scope", 253)}, []string{"192.0.2.0/24", "10.9.0.1"}},
		{"behind a gateway", v4, []any{route("dst", "10.9.0.0/24", "gw", "10.1.0.1"), route("dst", "192.0.2.0/24", "gw", "10.9.0.1")}, []string{"192.0.2.0/24", "10.9.0.1"}},
		{"IPv6", v6, []any{route("dst", "::/0", "gw", "2001:db8::1")}, nil},
		{"IPv6, link-local", v6, []any{route("dst", "::/0", "gw", "fe80::1")}, nil},
		{"IPv6, outside", v6, []any{route("dst", "::/0", "gw", "2001:db8:9::1")}, []string{"::/0", "2001:db8:9::1"}},
		{"IPv6, its own", v6, []any{route("dst", "::/0", "gw", "2001:db8::5")}, []string{"::/0", "2001:db8::5", "itself"}},
		{"of the other family", v4, []any{route("dst", "192.0.2.0/24", "gw", "2001:db8::1")}, []string{"192.0.2.0/24", "2001:db8::1", "IPv4"}},
		{"of the other family, IPv6", v6, []any{route("dst", "2001:db8:1::/48", "gw", "10.1.0.1")}, []string{"2001:db8:1::/48", "10.1.0.1", "IPv6"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t, 1)
			args := n.args("c1", n.pod("p1", 0), n.config(map[string]any{"cniVersion": "1.1.0", "ipam": map[string]any{"type": "static", "addresses": tt.addresses, "routes": tt.routes}}))
			before := n.String()
			if tt.want == nil {
				n.mustAdd(args)
				return
			}
			_, err := n.add(args)
			cnitest.WantError(t, err, types.ErrInvalidNetworkConfig, append(tt.want, "IPAM ADD")...)
			n.nothingLeft(before)
		})
	}
}

// TestRouteRejected: a route that the kernel rejects for good fails ADD at once, whatever the plugin thought of it.
func TestRouteRejected(t *testing.T) {
	n := newNode(t, 1)
	args := n.args("c1", n.pod("p1", 0), n.config(nil))
	before := n.String()
	tries := 0
	n.FailApplyIf(func(a plan.Action) error {
		if r, is := a.(plan.AddRoute); is {
			tries++
			return fmt.Errorf("%s: %w", r, bond.ErrInvalid)
		}
		return nil
	})
	_, err := n.add(args)
	cnitest.WantError(t, err, types.ErrInvalidNetworkConfig, "add route 0.0.0.0/0 via 10.56.217.1")
	if tries != 1 {
		t.Errorf("it was tried %d times", tries)
	}
	n.nothingLeft(before)
}

// TestRouteOutOfRange: what does not fit into the kernel's fields is refused, not cut off.
func TestRouteOutOfRange(t *testing.T) {
	n := newNode(t, 1)
	pod := n.pod("p1", 0)
	before := n.String()
	for field, value := range map[string]int64{"scope": 256, "table": -1, "mtu": 65521, "advmss": 65496, "priority": 1 << 32} {
		ipam := map[string]any{"type": "host-local", "dataDir": n.data, "subnet": "10.0.0.0/24", "routes": []any{map[string]any{"dst": "192.0.2.0/24", field: value}}}
		_, err := n.add(n.args("c1", pod, n.config(map[string]any{"cniVersion": "1.1.0", "ipam": ipam})))
		cnitest.WantError(t, err, types.ErrDecodingFailure, "IPAM ADD", "routes[0]: "+field, strconv.FormatInt(value, 10), "want 0 to ")
		n.nothingLeft(before)
	}
}

// TestChainedInFull: what the plugins before this one in a chain returned is passed on as it was.
func TestChainedInFull(t *testing.T) {
	n := newNode(t, 1)
	pod := n.pod("p1", 0)
	prev := map[string]any{
		"cniVersion": "1.1.0",
		"interfaces": []any{map[string]any{"name": "eth0", "sandbox": pod, "mac": "02:00:00:00:00:50", "mtu": 1450, "pciID": "0000:05:00.1", "socketPath": "/run/x"}, map[string]any{"name": "veth1"}},
		"ips":        []any{map[string]any{"address": "10.244.0.5/24", "gateway": "10.244.0.1", "interface": 0}},
		"routes":     []any{map[string]any{"dst": "10.244.0.0/16", "mtu": 1300, "table": 7}},
		"dns":        map[string]any{"nameservers": []string{"10.96.0.10"}},
	}
	args := n.args("c1", pod, n.config(map[string]any{"cniVersion": "1.1.0", "prevResult": prev}))
	result := n.mustAdd(args)
	if i := result.Interfaces; len(i) != 3 || i[0].PciID != "0000:05:00.1" || i[0].SocketPath != "/run/x" || i[0].Mtu != 1450 || i[1].Name != "veth1" || i[2].Name != "bond0" {
		t.Errorf("interfaces: %v", i)
	}
	if len(result.IPs) != 2 || *result.IPs[0].Interface != 0 || result.IPs[0].Gateway.String() != "10.244.0.1" || *result.IPs[1].Interface != 2 {
		t.Errorf("IPs: %v", result.IPs)
	}
	if len(result.Routes) != 2 || result.Routes[0].MTU != 1300 || *result.Routes[0].Table != 7 {
		t.Errorf("routes: %v", result.Routes)
	}
	if len(result.DNS.Nameservers) != 1 {
		t.Errorf("DNS: %v", result.DNS)
	}
	if err := n.plugin.Funcs().Check(n.args("c1", pod, n.withPrev(args.StdinData, result))); err != nil {
		t.Errorf("CHECK: %v", err)
	}
}

// TestWrongIPs: addresses that the IPAM plugin cannot give fail ADD with that plugin's own words.
func TestWrongIPs(t *testing.T) {
	n := newNode(t, 1)
	pod := n.pod("p1", 0)
	before := n.String()
	_, err := n.add(n.args("c1", pod, n.config(map[string]any{"runtimeConfig": map[string]any{"ips": []string{"192.168.99.1"}}})))
	cnitest.WantError(t, err, types.ErrInternal, "IPAM host-local ADD", "192.168.99.1")
	if strings.Contains(err.Error(), "bond0 of pod") {
		t.Errorf("it looks like the bond's fault: %v", err)
	}
	n.nothingLeft(before)
}
