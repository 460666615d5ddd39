//go:build lab

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"

	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// local is a config of ours with host-local as IPAM, whose leases are in this test's own directory.
func (p *pod) local(fields, ipam string) *libcni.PluginConfig {
	p.t.Helper()
	if ipam != "" {
		ipam = "," + ipam
	}
	return p.config("1.0.0", fmt.Sprintf(`%s,"ipam":{"type":"host-local","dataDir":%q,"subnet":"192.0.2.0/24"%s}`, fields, p.data(), ipam))
}

// data is host-local's directory.
func (p *pod) data() string { return p.state + "-leases" }

// leases are the addresses that host-local holds as given away, each with its file's text.
func (p *pod) leases() map[string]string {
	p.t.Helper()
	files, err := filepath.Glob(p.data() + "/*/*")
	if err != nil {
		p.t.Fatal(err)
	}
	found := map[string]string{}
	for _, f := range files {
		name := filepath.Base(f)
		if strings.HasPrefix(name, "last_reserved") || name == "lock" {
			continue
		}
		text, err := os.ReadFile(f)
		if err != nil {
			p.t.Fatal(err)
		}
		found[name] = string(text)
	}
	return found
}

// nothingLeft is likeBefore, with no lease either.
func (p *pod) nothingLeft(before map[string]*linkJSON) {
	p.t.Helper()
	p.likeBefore(before)
	if l := p.leases(); len(l) > 0 {
		p.t.Errorf("leases left: %v", l)
	}
}

// TestKernelRefuses: what the kernel refuses in the middle of ADD is its error, and everything is given back.
func TestKernelRefuses(t *testing.T) {
	whole := newPod(t)
	whole.attachVFs()
	for _, tt := range []struct {
		name         string
		fields, ipam string
		prepare      func(p *pod)
		says         []string
	}{
		{"a link is in another bond", `"mode":0`, "", func(p *pod) {
			p.ip("-n", p.name, "link", "add", "other", "type", "bond")
			p.t.Cleanup(func() { p.ip("-n", p.name, "link", "del", "other") })
			p.ip("-n", p.name, "link", "set", "net2", "down")
			p.ip("-n", p.name, "link", "set", "net2", "master", "other")
		}, []string{"net2", "enslaved to other"}},
		{"the second link refuses the bond's MAC", `"mode":0`, "", func(p *pod) {
			pf, err := topology.Netdev(p.cards[1].PF.PCI)
			if err != nil {
				p.t.Fatal(err)
			}
			p.ip("link", "set", pf, "vf", "0", "mac", p.links()["net2"].Address)
			p.t.Cleanup(func() { p.ip("link", "set", pf, "vf", "0", "mac", "00:00:00:00:00:00") })
		}, []string{"net2", "refuses the MAC", "trust on", "failOverMac=active"}},
		{"a gateway that is not on the link", `"mode":1`, `"routes":[{"dst":"198.51.100.0/24","gw":"203.0.113.1"}]`, nil,
			[]string{"198.51.100.0/24 via 203.0.113.1", "not in the subnet"}},
		{"a scope that the kernel does not have", `"mode":1`, `"routes":[{"dst":"198.51.100.0/24","gw":"192.0.2.1","scope":300}]`, nil,
			[]string{"routes[0]: scope: found 300"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := whole.in(t)
			if tt.prepare != nil {
				tt.prepare(p)
			}
			before := p.links()
			_, err := p.cni.AddNetwork(t.Context(), p.local(tt.fields, tt.ipam), p.runtime("bond0"))
			t.Log(err)
			for _, says := range tt.says {
				if err == nil || !strings.Contains(err.Error(), says) {
					t.Errorf("ADD: %v; want it to say %q", err, says)
				}
			}
			p.nothingLeft(before)
		})
	}
	before := whole.links()
	conf := whole.local(`"mode":1,"failOverMac":1`, "")
	whole.add(conf, "bond0")
	if len(whole.leases()) != 1 {
		t.Errorf("leases of a bond that is there: %v", whole.leases())
	}
	whole.del(conf, "bond0")
	whole.nothingLeft(before)
}
