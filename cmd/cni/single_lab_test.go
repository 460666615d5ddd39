//go:build lab

package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"

	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// TestSingleLinkInTheLab: a bond over one VF is made only where that is asked for, and its result names the device.
func TestSingleLinkInTheLab(t *testing.T) {
	p := newPod(t)
	p.attachVFs()
	before := p.links()
	d := p.direct("1.1.0", map[string]any{"mode": 1, "failOverMac": 1, "links": []any{map[string]any{"name": "net1"}}})
	if _, err := d.verb("ADD"); err == nil || !strings.Contains(err.Error(), "allowSingleLink") {
		t.Errorf("ADD with one link: %v", err)
	}
	p.likeBefore(before)
	d.config["allowSingleLink"] = true
	result := d.add()
	if i := result.Interfaces[0]; i.PciID != p.cards[0].VFs[0].PCI || i.Mac != before["net1"].Address {
		t.Errorf("the result says %+v", i)
	}
	if l := p.links(); l["net1"].Master != "bond0" || l["net2"].Master != "" {
		t.Errorf("net1 is %+v, net2 %+v", l["net1"], l["net2"])
	}
	d.must("CHECK")
	d.must("DEL")
	p.likeBefore(before)
}

// TestWarningsInTheLab: what is told of real VFs, their PFs and the trust that those have in them.
func TestWarningsInTheLab(t *testing.T) {
	p := newPod(t)
	p.moveVFs()
	name, err := topology.Netdev(p.cards[0].VFs[1].PCI)
	if err != nil {
		t.Fatal(err)
	}
	p.ip("link", "set", name, "netns", p.name, "name", "net3")
	pf, err := topology.Netdev(p.cards[0].PF.PCI)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		mode   int
		second string
		wants  []string
	}{
		{1, "net2", nil},
		{1, "net3", []string{"net1, net3 are VFs of one PF, " + pf}},
		{4, "net2", []string{"802.3ad: net1, net2: LACP", "mode 802.3ad puts the bond's MAC on every link"}},
		{0, "net2", []string{"mode balance-rr puts the bond's MAC on every link, and the PF of net2"}},
		{6, "net3", []string{"net1, net3 are VFs of one PF", "mode balance-alb moves MACs between links"}},
	} {
		d := p.direct("1.1.0", map[string]any{"mode": tt.mode, "links": []any{map[string]any{"name": "net1"}, map[string]any{"name": tt.second}}})
		if tt.mode == 1 {
			d.config["failOverMac"] = 1
		}
		d.add()
		told := d.converge().Status.Warnings
		if len(told) != len(tt.wants) {
			t.Errorf("mode %d over net1 and %s: %d warnings, want %d: %q", tt.mode, tt.second, len(told), len(tt.wants), told)
		}
		for _, want := range tt.wants {
			if !strings.Contains(strings.Join(told, "\n"), want) {
				t.Errorf("mode %d over net1 and %s: no warning %q in %q", tt.mode, tt.second, want, told)
			}
		}
		d.must("DEL")
		d.prev = nil
	}
}

// A plugin before the bond that makes CNI_IFNAME leaves no name for it: "ifname" in a config is ignored, as today's
// plugin does. The error names the link, which stays as it is. Chains that work are in test/chains.
func TestChainInTheLab(t *testing.T) {
	p := newPod(t)
	p.attachVFs()
	before := p.links()
	list, err := libcni.ConfListFromBytes([]byte(fmt.Sprintf(`{"cniVersion":"1.1.0","name":"lab","plugins":[
		{"type":"ptp","mtu":1450,"ipam":{"type":"host-local","dataDir":%[2]q,"subnet":"198.51.100.0/24"}},
		{"type":"bond","ifname":"bond7","stateDir":%[1]q,"linksInContainer":true,"links":[{"name":"net1"},{"name":"net2"}],"mode":1,"failOverMac":1}]}`, p.state, p.data())))
	if err != nil {
		t.Fatal(err)
	}
	rt := p.runtime("eth0")
	if _, err = p.cni.AddNetworkList(t.Context(), list, rt); err == nil || !strings.Contains(err.Error(), "the pod has a link eth0 already") {
		t.Errorf("ADD behind a plugin that made eth0: %v", err)
	}
	if l := p.links(); l["eth0"] == nil || l["eth0"].LinkInfo.Kind != "veth" || l["net1"].Master != "" {
		t.Errorf("the pod has %v", l)
	}
	if err := p.cni.DelNetworkList(t.Context(), list, rt); err != nil {
		t.Errorf("DEL: %v", err)
	}
	p.nothingLeft(before)
}
