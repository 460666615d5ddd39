//go:build lab

package main

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// routeJSON is what `ip -j route` says of a route.
type routeJSON struct {
	Dst     string           `json:"dst"`
	Gateway string           `json:"gateway"`
	Table   string           `json:"table"`
	Scope   string           `json:"scope"`
	Metric  int              `json:"metric"`
	Metrics []map[string]int `json:"metrics"`
}

// String is the route as tests write it, without what is the kernel's default.
func (r *routeJSON) String() string {
	s := r.Dst
	for _, f := range []struct{ name, value string }{{"via", r.Gateway}, {"table", r.Table}, {"scope", r.Scope}} {
		if f.value != "" {
			s += " " + f.name + " " + f.value
		}
	}
	if r.Metric != 0 {
		s += fmt.Sprintf(" metric %d", r.Metric)
	}
	for _, m := range r.Metrics {
		for _, name := range []string{"mtu", "advmss"} {
			if v, found := m[name]; found {
				s += fmt.Sprintf(" %s %d", name, v)
			}
		}
	}
	return s
}

// routes are the routes through the bond that it has beside those that the kernel makes for its addresses.
func (p *pod) routes(ifName string) []string {
	p.t.Helper()
	var all []string
	for _, family := range []string{"-4", "-6"} {
		var list []routeJSON
		out := p.ip("-n", p.name, family, "-j", "route", "show", "table", "all", "dev", ifName)
		if err := json.Unmarshal(out, &list); err != nil {
			p.t.Fatalf("ip says %s: %v", out, err)
		}
		for _, r := range list {
			if r.Table == "local" || r.Dst == "multicast" || strings.HasPrefix(r.Dst, "fe80") || r.Gateway == "" && r.Table == "" && strings.HasPrefix(r.Dst, "192.0.2.") ||
				r.Gateway == "" && r.Table == "" && slices.Contains([]string{"2001:db8::/64", "198.51.100.0/24", "2001:db8:5::/64"}, r.Dst) {
				continue
			}
			all = append(all, strings.TrimSpace(r.String()))
		}
	}
	slices.Sort(all)
	return all
}

// TestIPAMInTheLab: host-local and static with addresses of one family, of both, of several networks, and routes with
// every field, as ip shows them.
func TestIPAMInTheLab(t *testing.T) {
	whole := newPod(t)
	whole.attachVFs()
	before := whole.links()
	for _, tt := range []struct {
		name, version, ipam string
		addresses, routes   []string
	}{
		{"host-local, IPv4", "0.3.1", `{"type":"host-local","subnet":"192.0.2.0/24","rangeStart":"192.0.2.9","routes":[{"dst":"0.0.0.0/0"}]`,
			[]string{"192.0.2.9/24"}, []string{"default via 192.0.2.1"}},
		{"host-local, IPv6", "0.4.0", `{"type":"host-local","ranges":[[{"subnet":"2001:db8::/64","rangeStart":"2001:db8::9"}]],"routes":[{"dst":"::/0"}]`,
			[]string{"2001:db8::9/64"}, []string{"default via 2001:db8::1 metric 1024"}},
		{"host-local, dual", "1.0.0", `{"type":"host-local","ranges":[[{"subnet":"192.0.2.0/24","rangeStart":"192.0.2.9"}],[{"subnet":"2001:db8::/64","rangeStart":"2001:db8::9"}]],
			"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"},{"dst":"203.0.113.0/24","gw":"192.0.2.254"}]`,
			[]string{"192.0.2.9/24", "2001:db8::9/64"}, []string{"203.0.113.0/24 via 192.0.2.254", "default via 192.0.2.1", "default via 2001:db8::1 metric 1024"}},
		{"host-local, several of each", "1.1.0", `{"type":"host-local","ranges":[[{"subnet":"192.0.2.0/24","rangeStart":"192.0.2.9"}],[{"subnet":"198.51.100.0/24","rangeStart":"198.51.100.9"}],
			[{"subnet":"2001:db8::/64","rangeStart":"2001:db8::9"}],[{"subnet":"2001:db8:5::/64","rangeStart":"2001:db8:5::9"}]]`,
			[]string{"192.0.2.9/24", "198.51.100.9/24", "2001:db8:5::9/64", "2001:db8::9/64"}, nil},
		{"static, IPv4", "0.2.0", `{"type":"static","addresses":[{"address":"192.0.2.7/24","gateway":"192.0.2.1"}],"routes":[{"dst":"0.0.0.0/0"}]`,
			[]string{"192.0.2.7/24"}, []string{"default via 192.0.2.1"}},
		{"static, IPv6", "1.0.0", `{"type":"static","addresses":[{"address":"2001:db8::7/64","gateway":"2001:db8::1"}],"routes":[{"dst":"2001:db8:9::/48"}]`,
			[]string{"2001:db8::7/64"}, []string{"2001:db8:9::/48 via 2001:db8::1 metric 1024"}},
		{"static, every field of a route", "1.1.0", `{"type":"static","addresses":[{"address":"192.0.2.7/24","gateway":"192.0.2.1"},{"address":"198.51.100.7/32"},{"address":"2001:db8::7/64"}],
			"routes":[{"dst":"0.0.0.0/0","table":100,"mtu":1400,"advmss":1360,"priority":50},{"dst":"203.0.113.0/24","gw":"192.0.2.2","mtu":1300},
			{"dst":"10.1.0.0/16","gw":"0.0.0.0","scope":253,"table":100},{"dst":"2001:db8:1::/48","gw":"2001:db8::1","table":101,"mtu":1280,"advmss":1220,"priority":7},{"dst":"2001:db8:2::/48","scope":253,"mtu":65520}]`,
			[]string{"192.0.2.7/24", "198.51.100.7/32", "2001:db8::7/64"}, []string{"10.1.0.0/16 table 100 scope link", "2001:db8:1::/48 via 2001:db8::1 table 101 metric 7 mtu 1280 advmss 1220", "2001:db8:2::/48 metric 1024 mtu 65520",
				"203.0.113.0/24 via 192.0.2.2 mtu 1300", "default via 192.0.2.1 table 100 metric 50 mtu 1400 advmss 1360"}},
		{"none", "1.1.0", `{`, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := whole.in(t)
			p.state = filepath.Join(t.TempDir(), "state") // and leases, of which host-local remembers the last
			ipam := strings.TrimSuffix(tt.ipam, "{") + fmt.Sprintf(`,"dataDir":%q}`, p.data())
			if tt.ipam == "{" {
				ipam = "{}"
			}
			conf := p.config(tt.version, `"mode":1,"failOverMac":1,"ipam":`+ipam)
			result := p.add(conf, "bond0")
			var addresses []string
			for _, a := range p.links()["bond0"].AddrInfo {
				if a.Scope == "global" {
					addresses = append(addresses, fmt.Sprintf("%s/%d", a.Local, a.PrefixLen))
				}
			}
			slices.Sort(addresses)
			if !slices.Equal(addresses, tt.addresses) || len(result.IPs) != len(tt.addresses) {
				t.Errorf("the bond has %v, the result %v, want %v", addresses, result.IPs, tt.addresses)
			}
			if routes := p.routes("bond0"); !slices.Equal(routes, tt.routes) {
				t.Errorf("routes:\n%s\nwant:\n%s", strings.Join(routes, "\n"), strings.Join(tt.routes, "\n"))
			}
			if tt.version > "0.3.1" {
				if err := p.cni.CheckNetwork(t.Context(), conf, p.runtime("bond0")); err != nil {
					t.Errorf("CHECK: %v", err)
				}
			}
			p.del(conf, "bond0")
			p.nothingLeft(before)
		})
	}
}

// TestNeighboursLearnAMovedAddress: who had spoken with the last owner of an address finds the new one without asking.
func TestNeighboursLearnAMovedAddress(t *testing.T) {
	p, peer := newPod(t), newPod(t)
	p.attachVFs()
	name, err := topology.Netdev(p.cards[0].VFs[1].PCI)
	if err != nil {
		t.Fatal(err)
	}
	peer.ip("link", "set", name, "netns", peer.name, "name", "peer0")
	for _, a := range []string{"192.0.2.9/24", "2001:db8::9/64"} {
		peer.ip("-n", peer.name, "addr", "add", a, "dev", "peer0", "nodad")
	}
	peer.ip("-n", peer.name, "link", "set", "peer0", "up")
	peer.wait("the peer's carrier", func() bool { return peer.links()["peer0"].OperState == "UP" })
	knows := func(address, mac string) func() bool {
		return func() bool {
			return strings.Contains(string(peer.ip("-n", peer.name, "neigh", "show", address, "dev", "peer0")), "lladdr "+mac)
		}
	}
	addresses := []string{"192.0.2.7", "2001:db8::7"}
	for i, mac := range []string{"02:00:00:00:00:a1", "02:00:00:00:00:a2", "02:00:00:00:00:a3"} {
		conf := p.config("1.1.0", fmt.Sprintf(`"mode":1,"failOverMac":1,"mac":%q`, mac))
		p.add(conf, "bond0")
		for _, a := range addresses {
			if i == 0 { // nobody is told of an address that he never asked for
				p.waitActive("bond0")
				peer.wait("the peer to speak with "+a, func() bool {
					_ = exec.Command("ip", "netns", "exec", peer.name, "ping", "-c", "1", "-W", "1", a).Run()
					return knows(a, mac)()
				})
			}
			peer.wait("the peer to know "+a+" at "+mac, knows(a, mac))
		}
		p.del(conf, "bond0")
	}
}
