package cnitest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

var addScenarios = []scenario{
	{"OKD page", okdPage, true},
	{"modes", modes, false},
	{"versions", versions, true},
	{"config fields", configFields, false},
	{"links from the host", linksFromHost, false},
	{"ADD rejects", addRejects, false},
	{"interface name", interfaceName, false},
	{"IPAM errors", ipamErrors, true},
	{"STATUS", status, false},
	{"full state directory", fullStateDir, true},
}

// modes: ADD, CHECK, DEL in each mode. CHECK fails without the address.
func modes(f *Fixture) {
	pod := f.Pod("p1", 0)
	before := f.LinkState()
	for i, mode := range []string{"balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"} {
		f.Run(mode, func(f *Fixture) {
			args := f.Args("c1", pod, f.Config(map[string]any{"cniVersion": "1.1.0", "mode": i, "failOverMac": nil}))
			result := f.MustAdd(args)
			b := f.LinkAt(pod, "bond0")
			if got := result.Interfaces[0]; got.Mac != string(b.MAC) || got.Mtu != b.MTU || got.Sandbox != pod {
				f.Errorf("result %+v, the bond has MAC %s and MTU %d", got, b.MAC, b.MTU)
			}
			if got := f.Mode(pod, "bond0"); got != mode {
				f.Errorf("the kernel has mode %s", got)
			}
			f.MustCheck(args, result)
			f.Must(f.FlushAddresses(pod, "bond0"))
			WantError(f, f.Check(args, result), types.ErrInternal, "10.56.217.")
			f.MustDel(args)
			f.WantNothingLeft(before)
			f.MustDel(args)
		})
	}
}

// versions: the result has the version of the config, with and without addresses.
func versions(f *Fixture) {
	pod := f.Pod("p1", 0)
	before := f.LinkState()
	for _, v := range []string{"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		if f.Skips(v, "0.2.0", "1.1.0") {
			continue
		}
		f.Run(v, func(f *Fixture) {
			ipam := static([]string{"192.0.2.7/24 via 192.0.2.1", "2001:db8::7/64"}, route("198.51.100.0/24", ""))
			args := f.Args("c1", pod, f.Config(map[string]any{"cniVersion": v, "ipam": ipam}))
			out := string(addRaw(f, args))
			field := "ips"
			if v == "0.1.0" || v == "0.2.0" {
				field = "ip4"
			}
			if !strings.Contains(out, fmt.Sprintf("%q: %q", "cniVersion", v)) || !strings.Contains(out, fmt.Sprintf("%q:", field)) || !strings.Contains(out, `"192.0.2.7/24"`) || !strings.Contains(out, `"2001:db8::7/64"`) {
				f.Errorf("result %s", out)
			}
			if hasMTU := strings.Contains(out, `"mtu"`); hasMTU != (v == "1.1.0" || v == "1.0.0") {
				f.Errorf("mtu in the result: %t\n%s", hasMTU, out)
			}
			f.MustDel(args)
			f.WantNothingLeft(before)
			args.StdinData = f.Config(map[string]any{"cniVersion": v, "ipam": nil, "dns": map[string]any{"domain": "lab"}})
			var result struct {
				CNIVersion    string
				IPs, IP4, IP6 any
				DNS           types.DNS
			}
			f.Must(json.Unmarshal(addRaw(f, args), &result))
			if result.CNIVersion != v || result.IPs != nil || result.IP4 != nil || result.IP6 != nil || result.DNS.Domain != "lab" {
				f.Errorf("result without addresses: %+v", result)
			}
			f.MustDel(args)
			f.WantNothingLeft(before)
		})
	}
}

func addRaw(f *Fixture, args *skel.CmdArgs) []byte {
	f.Helper()
	out, err := f.Call("ADD", args)
	f.Must(err)
	return out
}

// configFields are fields of the config and what they change.
func configFields(f *Fixture) {
	static := map[string]any{"type": "static", "addresses": []any{
		map[string]string{"address": "10.1.0.5/16", "gateway": "10.1.0.1"}, map[string]string{"address": "2001:db8::5/64", "gateway": "2001:db8::1"},
	}, "routes": []any{map[string]string{"dst": "::/0"}, map[string]string{"dst": "192.0.2.0/24", "gw": "10.1.0.9"}}, "dns": map[string]any{"nameservers": []string{"10.1.0.2"}}}
	pod := f.Pod("p1", 0)
	f.Must(f.SetMTU(pod, "net2", 1400))
	before := f.LinkState()
	for _, tt := range []struct {
		name    string
		changes map[string]any
		ok      func(r *bond.Record, b bond.Link) bool
	}{
		{"no IPAM", map[string]any{"ipam": nil}, func(r *bond.Record, _ bond.Link) bool { return len(r.Addresses) == 0 }},
		{"static, dual", map[string]any{"ipam": static}, func(r *bond.Record, _ bond.Link) bool {
			return len(r.Addresses) == 2 && len(r.Routes) == 2 && r.Routes[0].Gateway.String() == "2001:db8::1" && r.Routes[1].Gateway.String() == "10.1.0.9" &&
				r.DNS != nil && r.DNS.Nameservers[0] == "10.1.0.2"
		}},
		{"own DNS wins", map[string]any{"ipam": static, "dns": map[string]any{"nameservers": []string{"10.9.9.9"}}}, func(r *bond.Record, _ bond.Link) bool {
			return r.DNS != nil && r.DNS.Nameservers[0] == "10.9.9.9"
		}},
		{"primary's MAC", map[string]any{"primary": "net2"}, func(r *bond.Record, b bond.Link) bool {
			want := f.LinkAt(pod, "net2").MAC
			return r.Spec.MAC == want && b.MAC == want
		}},
		{"MTU of the least", map[string]any{"mtu": nil}, func(r *bond.Record, b bond.Link) bool { return r.Spec.MTU == 1400 && b.MTU == 1400 }},
		{"MAC", map[string]any{"failOverMac": nil, "mac": "02:00:00:00:00:99"}, func(_ *bond.Record, b bond.Link) bool { return b.MAC == "02:00:00:00:00:99" }},
		{"one MAC on all", map[string]any{"mode": "balance-rr", "failOverMac": nil}, func(r *bond.Record, _ bond.Link) bool {
			return f.LinkAt(pod, "net2").MAC == r.Spec.MAC
		}},
	} {
		if f.Skips(tt.name, "primary's MAC", "MTU of the least", "one MAC on all") {
			continue
		}
		f.Run(tt.name, func(f *Fixture) {
			if _, set := tt.changes["mtu"]; !set {
				tt.changes["mtu"] = 1400
			}
			args := f.Args("c1", pod, f.Config(tt.changes))
			f.MustAdd(args)
			if r, b := f.Record("c1"), f.LinkAt(pod, "bond0"); !tt.ok(r, b) {
				f.Errorf("record %+v, bond %+v", r, b)
			}
			f.MustDel(args)
			f.WantNothingLeft(before)
		})
	}
}

// linksFromHost: members are moved into the pod and back. The kernel sets a link down that leaves a netns, and it stays
// down.
func linksFromHost(f *Fixture) {
	for mode, changes := range map[string]map[string]any{"active-backup": {}, "balance-xor": {"mode": "balance-xor", "failOverMac": nil}} {
		f.Each(mode, func(f *Fixture) {
			pod := f.EmptyPod("p1")
			a, b := f.HostName(f.VF(0, 0)), f.HostName(f.VF(1, 0))
			before := f.LinkState()
			f.Must(f.SetUp(linktest.Host, a))
			changes["linksInContainer"], changes["links"], changes["ipam"] = false, Links(a, b), nil
			args := f.Args("c1", pod, f.Config(changes))
			f.MustAdd(args)
			for _, name := range []string{a, b} {
				if !f.InBond(pod, name) || !f.LinkAt(pod, name).Up {
					f.Errorf("%s in the pod: %+v", name, f.LinkAt(pod, name))
				}
			}
			f.MustDel(args)
			f.WantNothingLeft(before)
			f.MustDel(args)
		})
	}
}

// addRejects: errors in a bond's config are reported before anything is changed.
func addRejects(f *Fixture) {
	for _, tt := range []struct {
		name    string
		changes map[string]any
		prepare func(f *Fixture, pod string) error
		netns   string
		id      string
		code    uint
		parts   []string
	}{
		{name: "no netns", netns: "/run/netns/none", code: types.ErrInvalidNetNS, parts: []string{"CNI_NETNS", "/run/netns/none"}},
		{name: "the host's netns", netns: f.HostNetns(), code: types.ErrInvalidNetNS, parts: []string{"CNI_NETNS", f.HostNetns(), "host's own"}},
		{name: "container ID with slash", id: "../../etc", code: types.ErrInvalidEnvironmentVariables, parts: []string{"../../etc"}},
		{name: "container ID ..", id: "..", code: types.ErrInvalidEnvironmentVariables, parts: []string{".."}},
		{name: "missing link", changes: map[string]any{"links": Links("net1", "net7")}, code: types.ErrInvalidNetworkConfig, parts: []string{"links", "net7", "the pod"}},
		{name: "missing host link", changes: map[string]any{"linksInContainer": false}, code: types.ErrInvalidNetworkConfig, parts: []string{"links", "net1", "the host"}},
		{name: "link is the bond", changes: map[string]any{"links": Links("net1", "bond0")}, code: types.ErrInvalidNetworkConfig, parts: []string{"links", "bond0"}},
		{name: "MTU above a member's", changes: map[string]any{"mtu": 9000}, code: types.ErrInvalidNetworkConfig, parts: []string{"mtu", "9000", "1500", "net1"}},
		{name: "IPAM plugin that is not there", changes: map[string]any{"ipam": map[string]any{"type": "nowhere"}}, code: types.ErrInvalidNetworkConfig, parts: []string{"ipam.type", "nowhere"}},
		{name: "a bond of that name", prepare: func(f *Fixture, pod string) error { return f.AddBond(pod, "bond0") }, code: types.ErrInvalidEnvironmentVariables, parts: []string{"CNI_IFNAME", "bond0"}},
		{name: "another link of that name", prepare: func(f *Fixture, pod string) error { _, err := f.AddImpostor(pod, "bond0"); return err },
			code: types.ErrInvalidEnvironmentVariables, parts: []string{"CNI_IFNAME", "bond0", "dummy"}},
		{name: "member of another bond", prepare: func(f *Fixture, pod string) error {
			return errors.Join(f.AddBond(pod, "other"), f.Enslave(pod, "net2", "other"))
		}, code: types.ErrInvalidNetworkConfig, parts: []string{"links", "net2", "enslaved to "}},
	} {
		if f.Skips(tt.name, "MTU above a member's", "a bond of that name", "another link of that name", "member of another bond") {
			continue
		}
		f.Each(tt.name, func(f *Fixture) {
			pod := f.Pod("p1", 0)
			if tt.prepare != nil {
				f.Must(tt.prepare(f, pod))
			}
			before := f.LinkState()
			args := f.Args(cmp.Or(tt.id, "c1"), cmp.Or(tt.netns, pod), f.Config(tt.changes))
			_, err := f.Add(args)
			WantError(f, err, tt.code, tt.parts...)
			f.WantNothingLeft(before)
			if counts, is := f.Node.(interface{ Applies() int }); is && counts.Applies() > 0 {
				f.Error("the kernel was asked for a change")
			}
		})
	}
}

// interfaceName: ifname in a config is ignored with a warning. Later plugins in the chain use CNI_IFNAME.
func interfaceName(f *Fixture) {
	args, before := f.OnePod(map[string]any{"ifname": "bond7"})
	result := f.MustAdd(args)
	if result.Interfaces[0].Name != "bond0" || f.LinkAt(args.Netns, "bond0").Kind != "bond" {
		f.Errorf("result %v", result.Interfaces[0])
	}
	if _, found := f.Link(args.Netns, "bond7"); found {
		f.Error("there is a link bond7")
	}
	if w := f.Record("c1").Warnings; len(w) != 1 || !strings.Contains(w[0], "bond7") || !strings.Contains(w[0], "CNI_IFNAME") {
		f.Errorf("warnings %q", w)
	}
	f.MustCheck(args, result)
	f.MustDel(args)
	f.WantNothingLeft(before)
	args.StdinData = f.Config(map[string]any{"ifname": "bond0"})
	f.MustAdd(args)
	if w := f.Record("c1").Warnings; len(w) != 0 {
		f.Errorf("warnings for the same name: %q", w)
	}
}

// ipamErrors: an ADD whose IPAM fails leaves nothing, a DEL whose IPAM fails keeps the record. Both return IPAM's
// error.
func ipamErrors(f *Fixture) {
	g := NewHeldIPAM(f)
	pod := f.Pod("p1", 0)
	before := f.LinkState()
	args := g.Args(pod)
	g.Break("ADD")
	_, err := f.Add(args)
	WantError(f, err, 77, "IPAM gated ADD", "out of order")
	f.WantNothingLeft(before)
	g.Repair("ADD")

	f.MustAdd(args)
	g.Break("DEL")
	WantError(f, f.Del(args), 77, "IPAM gated DEL", "out of order")
	f.WantLinks(before)
	if !f.Record("c1").Deleted() {
		f.Error("the record must stay until IPAM is done")
	}
	g.Repair("DEL")
	f.MustDel(args)
	f.WantNothingLeft(before)
}

// status: code 50 shows a runtime that no ADD can work, whatever the IPAM plugin's own code is.
func status(f *Fixture) {
	g := NewHeldIPAM(f)
	call := func(ipam map[string]any) error {
		_, err := f.Call("STATUS", &skel.CmdArgs{Path: g.Dir, StdinData: f.Config(map[string]any{"cniVersion": "1.1.0", "ipam": ipam})})
		return err
	}
	gated := map[string]any{"type": "gated", "dataDir": f.Data, "subnet": "10.0.0.0/24"}
	f.Must(call(gated))
	g.Break("STATUS")
	WantError(f, call(gated), types.ErrPluginNotAvailable, "IPAM gated STATUS")
	WantError(f, call(map[string]any{"type": "missing"}), types.ErrPluginNotAvailable, "ipam.type", "missing")
}

// fullStateDir: on a full state directory ADD returns an error and leaves nothing, at whatever step the disk is full.
// DEL returns everything.
func fullStateDir(f *Fixture) {
	pod := f.Pod("p1", 0)
	kit.MountTmpfs(f, f.Dir, "size=256k")
	before := f.LinkState()
	args := f.Args("c1", pod, f.Config(nil))
	f.MustAdd(args)
	filler := kit.FillDisk(f, f.Dir, 0)
	f.MustDel(args)
	f.WantNothingLeft(before)

	rejected := 0
	for free := 0; ; free += 4096 {
		f.Must(os.Remove(filler))
		kit.FillDisk(f, f.Dir, free)
		_, err := f.Add(args)
		if err == nil {
			f.MustDel(args)
			f.WantNothingLeft(before)
			break
		}
		if rejected++; !strings.Contains(err.Error(), "no space left on device") || !strings.Contains(err.Error(), f.Dir) {
			f.Errorf("with %d bytes free ADD returned: %v", free, err)
		}
		f.WantNothingLeft(before)
		if free > 1<<17 {
			f.Fatal("ADD never succeeds")
		}
	}
	if rejected < 2 {
		f.Errorf("ADD was rejected %d times, want it to be with no free byte and with some", rejected)
	}
}
