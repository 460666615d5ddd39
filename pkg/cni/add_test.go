package cni

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
)

// TestAddOKD is the story of the OKD page: ADD, CHECK, DEL, DEL.
func TestAddOKD(t *testing.T) {
	n := newNode(t, 1)
	pod := n.pod("p1", 0)
	before := n.String()
	args := n.args("c1", pod, n.config(nil))
	net1, net2 := n.link(pod, "net1"), n.link(pod, "net2")

	result := n.mustAdd(args)

	b := n.link(pod, "bond0")
	for _, m := range []bond.Link{net1, net2} {
		now := n.link(pod, m.Name)
		if now.Master != b.Index || !now.Up || now.MAC != m.MAC {
			t.Errorf("member %s: got %+v, want it up in the bond with MAC %s", m.Name, now, m.MAC)
		}
	}
	if b.Kind != "bond" || !b.Up || b.MAC != net1.MAC || b.MTU != 1500 {
		t.Errorf("bond: got %+v, want MAC %s", b, net1.MAC)
	}
	if len(result.Interfaces) != 1 || result.Interfaces[0].Name != "bond0" || result.Interfaces[0].Mac != string(b.MAC) || result.Interfaces[0].Sandbox != pod {
		t.Errorf("result's interfaces: %v", result.Interfaces)
	}
	if len(result.IPs) != 1 || result.IPs[0].Address.String() != "10.56.217.2/24" || *result.IPs[0].Interface != 0 || result.IPs[0].Gateway.String() != "10.56.217.1" {
		t.Errorf("result's IPs: %v", result.IPs)
	}
	if len(result.Routes) != 1 || result.Routes[0].Dst.String() != "0.0.0.0/0" {
		t.Errorf("result's routes: %v", result.Routes)
	}
	want := &bond.Record{
		Key: bond.Key{ContainerID: "c1", IfName: "bond0"}, Phase: bond.PhaseReady, Network: "bond-net1",
		Pod: bond.Pod{Namespace: "demo", Name: "c1", UID: "uid-c1"}, Sandbox: n.pods[pod],
		Spec: bond.Spec{
			Options: bond.Options{bond.OptMode: "active-backup", bond.OptFailOverMac: "active", bond.OptMiimon: "100"},
			MTU:     1500, MAC: net1.MAC, Enforce: bond.EnforceAll,
		},
		BondIndex: b.Index, Settled: true,
		Addresses: []bond.Address{{Prefix: netip.MustParsePrefix("10.56.217.2/24"), Gateway: netip.MustParseAddr("10.56.217.1")}},
		Routes:    []bond.Route{{Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.56.217.1")}},
		CNI:       bond.CNI{Args: args.Args, Path: plugins},
	}
	got := n.record("c1")
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(bond.Record{}, "Members", "Created", "Updated", "Setup", "Learned"), cmpopts.IgnoreFields(bond.CNI{}, "Config"),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("record differs (-want +got):\n%s", diff)
	}
	if !got.InSetup() || got.Learned == nil || got.Members[0].Settings == nil {
		t.Errorf("ADD leaves set-up %+v, learned %v, settings of net1 %v", got.Setup, got.Learned, got.Members[0].Settings)
	}
	if n.stderr.String() != "" {
		t.Errorf("a quiet ADD says: %s", n.stderr)
	}
	changes := n.Changes()
	if err := n.plugin.Funcs().Check(n.args("c1", pod, n.withPrev(args.StdinData, result))); err != nil {
		t.Errorf("CHECK: %v", err)
	}
	if n.Changes() != changes {
		t.Errorf("CHECK changed something: %v", n.ChangeLog()[changes:])
	}
	n.mustDel(args)
	n.nothingLeft(before)
	n.mustDel(args)
	n.nothingLeft(before)
}

// withPrev is a config as the runtime passes it to CHECK and DEL.
func (n *node) withPrev(config []byte, prev any) []byte {
	n.t.Helper()
	var c map[string]any
	n.must(json.Unmarshal(config, &c))
	text, err := json.Marshal(prev)
	n.must(err)
	c["prevResult"] = json.RawMessage(text)
	c["cniVersion"] = "1.1.0"
	out, err := json.Marshal(c)
	n.must(err)
	return out
}

// TestAddVersions: the result is in the version that the config speaks.
func TestAddVersions(t *testing.T) {
	n := newNode(t, 1)
	pod := n.pod("p1", 0)
	for _, v := range Versions().SupportedVersions() {
		t.Run(v, func(t *testing.T) {
			args := n.args("c1", pod, n.config(map[string]any{"cniVersion": v}))
			stdout := &bytes.Buffer{}
			if err := n.newPlugin(stdout).Funcs().Add(args); err != nil {
				t.Fatal(err)
			}
			var result map[string]any
			n.must(json.Unmarshal(stdout.Bytes(), &result))
			if result["cniVersion"] != v {
				t.Errorf("cniVersion %v in %s", result["cniVersion"], stdout)
			}
			wantField := "ips"
			if v == "0.1.0" || v == "0.2.0" {
				wantField = "ip4"
			}
			if result[wantField] == nil {
				t.Errorf("no %s in %s", wantField, stdout)
			}
			if hasMTU := strings.Contains(stdout.String(), `"mtu"`); hasMTU != (v == "1.1.0" || v == "1.0.0") {
				t.Errorf("mtu in a result of version %s: %t\n%s", v, hasMTU, stdout)
			}
			n.mustDel(args)
		})
	}
}

// TestAddVersionsWithoutIPAM: a result without addresses is one in every version.
func TestAddVersionsWithoutIPAM(t *testing.T) {
	n := newNode(t, 1)
	pod := n.pod("p1", 0)
	for _, v := range Versions().SupportedVersions() {
		t.Run(v, func(t *testing.T) {
			args := n.args("c1", pod, n.config(map[string]any{"cniVersion": v, "ipam": nil, "dns": map[string]any{"domain": "lab"}}))
			stdout := &bytes.Buffer{}
			if err := n.newPlugin(stdout).Funcs().Add(args); err != nil {
				t.Fatal(err)
			}
			var result struct {
				CNIVersion string
				IPs        []any
				IP4, IP6   any
				DNS        types.DNS
			}
			n.must(json.Unmarshal(stdout.Bytes(), &result))
			if result.CNIVersion != v || result.IPs != nil || result.IP4 != nil || result.IP6 != nil || result.DNS.Domain != "lab" {
				t.Errorf("result %s", stdout)
			}
			n.mustDel(args)
		})
	}
}

func TestAddFromHost(t *testing.T) {
	n := newNode(t, 1)
	path := "/run/netns/p1"
	n.pods[path] = n.AddPod(path)
	a, b := n.hostVF(0, 0), n.hostVF(1, 0)
	n.must(n.SetUp(linktest.Host, a))
	before := n.String()
	args := n.args("c1", path, n.config(map[string]any{"linksInContainer": false, "links": []any{map[string]string{"name": a}, map[string]string{"name": b}}}))
	n.mustAdd(args)
	if l := n.link(path, a); l.Master != n.link(path, "bond0").Index {
		t.Errorf("%s is not in the bond: %+v", a, l)
	}
	n.mustDel(args)
	n.must(n.SetUp(linktest.Host, a)) // leaving a netns sets a link down, and it stays so
	n.nothingLeft(before)
}

// TestAddVariants looks at what else the config can ask for.
func TestAddVariants(t *testing.T) {
	static := map[string]any{"type": "static", "addresses": []any{
		map[string]string{"address": "10.1.0.5/16", "gateway": "10.1.0.1"}, map[string]string{"address": "2001:db8::5/64", "gateway": "2001:db8::1"},
	}, "routes": []any{map[string]string{"dst": "::/0"}, map[string]string{"dst": "192.0.2.0/24", "gw": "10.1.0.9"}}, "dns": map[string]any{"nameservers": []string{"10.1.0.2"}}}
	tests := []struct {
		name    string
		changes map[string]any
		check   func(t *testing.T, n *node, pod string, r *bond.Record)
	}{
		{"no IPAM", map[string]any{"ipam": nil}, func(t *testing.T, _ *node, _ string, r *bond.Record) {
			if len(r.Addresses) != 0 {
				t.Errorf("addresses: %v", r.Addresses)
			}
		}},
		{"static, dual", map[string]any{"ipam": static}, func(t *testing.T, _ *node, _ string, r *bond.Record) {
			if len(r.Addresses) != 2 || len(r.Routes) != 2 || r.Routes[0].Gateway.String() != "2001:db8::1" || r.Routes[1].Gateway.String() != "10.1.0.9" {
				t.Errorf("addresses %v, routes %v", r.Addresses, r.Routes)
			}
			if r.DNS == nil || r.DNS.Nameservers[0] != "10.1.0.2" {
				t.Errorf("DNS %v", r.DNS)
			}
		}},
		{"own DNS wins", map[string]any{"ipam": static, "dns": map[string]any{"nameservers": []string{"10.9.9.9"}}}, func(t *testing.T, _ *node, _ string, r *bond.Record) {
			if r.DNS == nil || r.DNS.Nameservers[0] != "10.9.9.9" {
				t.Errorf("DNS %v", r.DNS)
			}
		}},
		{"primary's MAC", map[string]any{"primary": "net2"}, func(t *testing.T, n *node, pod string, r *bond.Record) {
			if want := n.link(pod, "net2").MAC; r.Spec.MAC != want || n.link(pod, "bond0").MAC != want {
				t.Errorf("MAC %s, bond has %s, want %s", r.Spec.MAC, n.link(pod, "bond0").MAC, want)
			}
		}},
		{"MTU of the least", map[string]any{"mtu": nil}, func(t *testing.T, n *node, pod string, r *bond.Record) {
			if r.Spec.MTU != 1400 || n.link(pod, "bond0").MTU != 1400 {
				t.Errorf("MTU %d, bond has %d", r.Spec.MTU, n.link(pod, "bond0").MTU)
			}
		}},
		{"MAC asked", map[string]any{"failOverMac": nil, "mac": "02:00:00:00:00:99"}, func(t *testing.T, n *node, pod string, _ *bond.Record) {
			if got := n.link(pod, "bond0").MAC; got != "02:00:00:00:00:99" {
				t.Errorf("MAC %s", got)
			}
		}},
		{"balance-rr", map[string]any{"mode": "balance-rr", "failOverMac": nil}, func(t *testing.T, n *node, pod string, r *bond.Record) {
			if got := n.link(pod, "net2").MAC; got != r.Spec.MAC {
				t.Errorf("net2 has MAC %s, the bond %s", got, r.Spec.MAC)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t, 1)
			pod := n.pod("p1", 0)
			n.must(n.SetMTU(pod, "net2", 1400))
			before := n.String()
			if _, asked := tt.changes["mtu"]; !asked {
				tt.changes["mtu"] = 1400
			}
			args := n.args("c1", pod, n.config(tt.changes))
			n.mustAdd(args)
			tt.check(t, n, pod, n.record("c1"))
			n.mustDel(args)
			n.nothingLeft(before)
		})
	}
}

// TestAddActiveMAC: a bond whose first member has no carrier yet has another member's MAC.
// That one is returned, and kept.
func TestAddActiveMAC(t *testing.T) {
	n := newNode(t, 1)
	pod := n.pod("p1", 0)
	n.must(n.SetPFCarrier("pf0", false))
	result := n.mustAdd(n.args("c1", pod, n.config(nil)))
	want := n.link(pod, "net2").MAC
	if got := result.Interfaces[0].Mac; got != string(want) {
		t.Errorf("result has MAC %s, want %s", got, want)
	}
	if got := n.record("c1").Spec.MAC; got != want {
		t.Errorf("record has MAC %s, want %s", got, want)
	}
}

func TestAddChained(t *testing.T) {
	n := newNode(t, 1)
	pod := n.pod("p1", 0)
	prev := map[string]any{"cniVersion": "1.0.0", "interfaces": []any{map[string]string{"name": "eth0", "sandbox": pod}},
		"ips": []any{map[string]any{"address": "10.244.0.5/24", "interface": 0}}, "dns": map[string]any{"domain": "cluster"}}
	result := n.mustAdd(n.args("c1", pod, n.config(map[string]any{"cniVersion": "1.0.0", "prevResult": prev})))
	if len(result.Interfaces) != 2 || result.Interfaces[1].Name != "bond0" {
		t.Errorf("interfaces: %v", result.Interfaces)
	}
	if len(result.IPs) != 2 || *result.IPs[0].Interface != 0 || *result.IPs[1].Interface != 1 {
		t.Errorf("IPs: %v", result.IPs)
	}
	if result.DNS.Domain != "cluster" {
		t.Errorf("DNS: %v", result.DNS)
	}
}

// TestAddRefuses: what is wrong with the world is said before anything is touched.
func TestAddRefuses(t *testing.T) {
	tests := []struct {
		name    string
		changes map[string]any
		world   func(n *node, pod string)
		netns   string
		id      string
		code    uint
		says    []string
	}{
		{name: "no netns", netns: "/run/netns/none", code: types.ErrInvalidNetNS, says: []string{"CNI_NETNS", "/run/netns/none"}},
		{name: "the host's netns", netns: "/host", code: types.ErrInvalidNetNS, says: []string{"CNI_NETNS", "/host", "host's own"}},
		{name: "container ID with slash", id: "../../etc", code: types.ErrInvalidEnvironmentVariables, says: []string{"../../etc"}},
		{name: "container ID ..", id: "..", code: types.ErrInvalidEnvironmentVariables, says: []string{".."}},
		{name: "missing link", changes: map[string]any{"links": []any{map[string]string{"name": "net1"}, map[string]string{"name": "net7"}}}, code: types.ErrInvalidNetworkConfig, says: []string{"links", "net7", "the pod"}},
		{name: "missing host link", changes: map[string]any{"linksInContainer": false}, code: types.ErrInvalidNetworkConfig, says: []string{"links", "net1", "the host"}},
		{name: "link is the bond", changes: map[string]any{"links": []any{map[string]string{"name": "net1"}, map[string]string{"name": "bond0"}}}, code: types.ErrInvalidNetworkConfig, says: []string{"links", "bond0"}},
		{name: "MTU above a member's", changes: map[string]any{"mtu": 9000}, code: types.ErrInvalidNetworkConfig, says: []string{"mtu", "9000", "1500", "net1"}},
		{name: "IPAM plugin that is not there", changes: map[string]any{"ipam": map[string]any{"type": "nowhere"}}, code: types.ErrInvalidNetworkConfig, says: []string{"ipam.type", "nowhere"}},
		{name: "a bond of that name", world: func(n *node, pod string) { n.must(n.AddBond(pod, "bond0", bond.Options{})) }, code: types.ErrInvalidEnvironmentVariables, says: []string{"CNI_IFNAME", "bond0"}},
		{name: "another link of that name", world: func(n *node, pod string) { _, err := n.AddImpostor(pod, "bond0"); n.must(err) }, code: types.ErrInvalidEnvironmentVariables, says: []string{"CNI_IFNAME", "bond0", "dummy"}},
		{name: "member of another bond", world: func(n *node, pod string) {
			n.must(n.AddBond(pod, "other", bond.Options{}))
			n.must(n.Enslave(pod, "net2", "other"))
		}, code: types.ErrInvalidNetworkConfig, says: []string{"links", "net2"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t, 1)
			pod := n.pod("p1", 0)
			if tt.world != nil {
				tt.world(n, pod)
			}
			before := n.String()
			args := n.args("c1", pod, n.config(tt.changes))
			if tt.netns != "" {
				args.Netns = tt.netns
			}
			if tt.id != "" {
				args.ContainerID = tt.id
			}
			_, err := n.add(args)
			cnitest.WantError(t, err, tt.code, tt.says...)
			n.nothingLeft(before)
			if n.Applies() > 0 {
				t.Errorf("touched: %v", n.ChangeLog())
			}
		})
	}
}

// TestAddTwice: CNI forbids an ADD after an ADD. The first one's bond is not harmed.
func TestAddTwice(t *testing.T) {
	n := newNode(t, 1)
	args := n.args("c1", n.pod("p1", 0), n.config(nil))
	n.mustAdd(args)
	before := n.String()
	_, err := n.add(args)
	cnitest.WantError(t, err, types.ErrInvalidEnvironmentVariables, "c1@bond0", "DEL")
	if n.String() != before || len(n.leases()) != 1 {
		t.Errorf("the first ADD's bond was harmed:\n%s", n.Fake)
	}
}

// TestIfName: ifname in a config is ignored with a warning. The plugins after this one look for CNI_IFNAME.
func TestIfName(t *testing.T) {
	n := newNode(t, 1)
	pod := n.pod("p1", 0)
	before := n.String()
	args := n.args("c1", pod, n.config(map[string]any{"ifname": "bond7"}))
	result := n.mustAdd(args)
	if result.Interfaces[0].Name != "bond0" || n.link(pod, "bond0").Kind != "bond" {
		t.Errorf("result %v", result.Interfaces[0])
	}
	if _, there := n.Link(pod, "bond7"); there {
		t.Error("there is a link bond7")
	}
	if w := n.record("c1").Warnings; len(w) != 1 || !strings.Contains(w[0], "bond7") || !strings.Contains(w[0], "CNI_IFNAME") {
		t.Errorf("warnings %q", w)
	}
	n.mustDel(args)
	n.nothingLeft(before)
	same := n.args("c1", pod, n.config(map[string]any{"ifname": "bond0"}))
	n.mustAdd(same)
	if w := n.record("c1").Warnings; len(w) != 0 {
		t.Errorf("warnings for the same name: %q", w)
	}
}

// TestIfNameOfOlderVersion: an ADD of an older version obeyed ifname. Its bond keeps that name while the pod lives.
func TestIfNameOfOlderVersion(t *testing.T) {
	n := newNode(t, 1)
	pod := n.pod("p1", 0)
	before := n.String()
	args := n.args("c1", pod, n.config(map[string]any{"ifname": "bond7"}))
	result := n.mustAdd(args)
	rec := n.record("c1")
	rec.Spec.Name, rec.Warnings = "bond7", nil
	n.must(n.store.Save(rec))
	n.must(n.Rename(pod, "bond0", "bond7"))
	result.Interfaces[0].Name = "bond7"
	if err := n.plugin.Funcs().Check(n.args("c1", pod, n.withPrev(args.StdinData, result))); err != nil {
		t.Errorf("CHECK: %v", err)
	}
	n.must(n.Rename(pod, "bond7", "mine"))
	if _, err := n.engine().Converge(t.Context(), rec.Key); err != nil {
		t.Fatal(err)
	}
	n.link(pod, "bond7")
	n.must(n.DeleteBond(pod, "bond7"))
	if _, err := n.engine().Converge(t.Context(), rec.Key); err != nil {
		t.Fatal(err)
	}
	n.link(pod, "bond7")
	n.mustDel(args)
	n.nothingLeft(before)
}

// TestSameNetns: an inode number alone does not make two sandboxes one.
func TestSameNetns(t *testing.T) {
	a := bond.Sandbox{Dev: 4, Inode: 7, Boot: "x", Cookie: 1}
	for _, tt := range []struct {
		b    bond.Sandbox
		same bool
	}{
		{a, true},
		{bond.Sandbox{Dev: 4, Inode: 7}, true}, // of an older version
		{bond.Sandbox{Dev: 4, Inode: 7, Boot: "x", Cookie: 2}, false},
		{bond.Sandbox{Dev: 4, Inode: 7, Boot: "y", Cookie: 1}, false},
		{bond.Sandbox{Dev: 4, Inode: 8, Boot: "x", Cookie: 1}, false},
	} {
		if got := sameNetns(a, tt.b); got != tt.same {
			t.Errorf("%+v: %t", tt.b, got)
		}
	}
}
