//go:build lab

package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/types/create"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// bare calls the plugin's binary as a runtime does, with the config's fields and these.
func (p *pod) bare(verb, ifName string, config *libcni.PluginConfig, fields map[string]any) (string, *types.Error) {
	p.t.Helper()
	var all map[string]any
	kit.Must(p.t, json.Unmarshal(config.Bytes, &all))
	for k, v := range fields {
		all[k] = v
	}
	stdin, err := json.Marshal(all)
	kit.Must(p.t, err)
	return call(p.t, map[string]string{
		"CNI_COMMAND": verb, "CNI_CONTAINERID": p.name, "CNI_NETNS": p.netns, "CNI_IFNAME": ifName, "CNI_PATH": binDir,
		"CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=demo;K8S_POD_NAME=" + p.name,
	}, string(stdin))
}

// well is bare that must succeed.
func (p *pod) well(verb, ifName string, config *libcni.PluginConfig, fields map[string]any) string {
	p.t.Helper()
	out, failed := p.bare(verb, ifName, config, fields)
	if failed != nil {
		p.t.Fatalf("%s: %v\n%s", verb, failed, p.ip("-n", p.name, "-d", "addr"))
	}
	return out
}

// TestEveryVerbBare calls every verb of every version of the specification on the binary. A verb that the version does
// not have is rejected with CNI's code.
func TestEveryVerbBare(t *testing.T) {
	shared := newPod(t)
	shared.attachVFs()
	before := shared.links()
	for i, version := range specVersions {
		t.Run(version, func(t *testing.T) {
			p := shared.in(t)
			conf := p.local(`"mode":1,"failOverMac":1`, "")
			in := map[string]any{"cniVersion": version}
			since := func(first, verb string, fields map[string]any) {
				t.Helper()
				fields["cniVersion"] = version
				_, failed := p.bare(verb, "bond0", conf, fields)
				switch has := i >= slices.Index(specVersions, first); {
				case has && failed != nil:
					t.Errorf("%s: %v", verb, failed)
				case !has && (failed == nil || failed.Code != types.ErrIncompatibleCNIVersion):
					t.Errorf("%s in a version without it: %v", verb, failed)
				}
			}
			if out := p.well("VERSION", "bond0", conf, in); !strings.Contains(out, version) {
				t.Errorf("VERSION says %s", out)
			}
			since("1.1.0", "STATUS", map[string]any{})
			p.well("DEL", "bond0", conf, in) // before any ADD
			out := p.well("ADD", "bond0", conf, in)
			result, err := create.CreateFromBytes([]byte(out))
			if err != nil || result.Version() != version {
				t.Errorf("result %s: %v", out, err)
			}
			since("0.4.0", "CHECK", map[string]any{"prevResult": json.RawMessage(out)})
			since("1.1.0", "GC", map[string]any{"cni.dev/valid-attachments": []any{map[string]string{"containerID": p.name, "ifname": "bond0"}}})
			if p.links()["bond0"] == nil || len(p.leases()) != 1 {
				t.Errorf("GC took a bond that the runtime knows; leases %v", p.leases())
			}
			since("1.1.0", "GC", map[string]any{"cni.dev/valid-attachments": []any{}})
			if gone := p.links()["bond0"] == nil; gone != (version == "1.1.0") {
				t.Errorf("after GC without valid attachments the bond is gone: %t", gone)
			}
			p.well("DEL", "bond0", conf, in)
			p.nothingLeft(before)
			p.well("DEL", "bond0", conf, in)
		})
	}
}

// TestEveryVerbThroughLibcni: the same through libcni, as Multus and containerd do, with capabilities and a list.
func TestEveryVerbThroughLibcni(t *testing.T) {
	shared := newPod(t)
	shared.attachVFs()
	before := shared.links()
	const mac = "02:00:00:00:00:42"
	for i, version := range specVersions {
		t.Run(version, func(t *testing.T) {
			p := shared.in(t)
			list, err := libcni.ConfListFromBytes([]byte(fmt.Sprintf(`{"cniVersion":%q,"name":"lab","plugins":[{"type":"bond","stateDir":%q,"linksInContainer":true,
				"links":[{"name":"net1"},{"name":"net2"}],"mode":"active-backup","failOverMac":"active","capabilities":{"mac":true,"ips":true},
				"ipam":{"type":"host-local","dataDir":%q,"subnet":"192.0.2.0/24"}}]}`, version, p.state, p.data())))
			kit.Must(t, err)
			rt := p.runtime("bond0")
			rt.CapabilityArgs = map[string]any{"mac": mac, "ips": []string{"192.0.2.77/24"}}
			if found, err := p.cni.ValidateNetworkList(t.Context(), list); err != nil {
				t.Errorf("validate: %v, %v", found, err)
			}
			if _, err := p.cni.AddNetworkList(t.Context(), list, rt); err != nil {
				t.Fatalf("ADD: %v", err)
			}
			b := p.links()["bond0"]
			if b == nil || b.Address != mac || len(b.AddrInfo) == 0 || b.AddrInfo[0].Local != "192.0.2.77" {
				t.Errorf("the bond: %+v", b)
			}
			if i >= slices.Index(specVersions, "0.4.0") {
				if err := p.cni.CheckNetworkList(t.Context(), list, rt); err != nil {
					t.Errorf("CHECK: %v", err)
				}
			}
			if version == "1.1.0" {
				if err := p.cni.GetStatusNetworkList(t.Context(), list); err != nil {
					t.Errorf("STATUS: %v", err)
				}
				if err := p.cni.GCNetworkList(t.Context(), list, &libcni.GCArgs{ValidAttachments: []types.GCAttachment{{ContainerID: p.name, IfName: "bond0"}}}); err != nil || p.links()["bond0"] == nil {
					t.Errorf("GC of others: %v", err)
				}
			}
			if err := p.cni.DelNetworkList(t.Context(), list, rt); err != nil {
				t.Errorf("DEL: %v", err)
			}
			p.nothingLeft(before)
		})
	}
}
