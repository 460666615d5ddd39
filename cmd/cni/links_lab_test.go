//go:build lab

package main

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// driver unbinds or binds the driver of the first VF of a card.
func (p *pod) driver(card int, verb string) {
	p.t.Helper()
	do := map[string]func(bond.PCIAddress) error{"unbind": kit.Links{}.UnbindVF, "bind": kit.Links{}.BindVF}[verb]
	kit.Must(p.t, do(bond.PCIAddress(p.cards[card].VFs[0].PCI)))
}

// onPF is the output of `ip -d -j link` about the first VF of a card on its PF.
func (p *pod) onPF(card int) map[string]any {
	p.t.Helper()
	name, err := topology.Netdev(p.cards[card].PF.PCI)
	kit.Must(p.t, err)
	var links []struct {
		VFs []map[string]any `json:"vfinfo_list"`
	}
	out := p.ip("-d", "-j", "link", "show", "dev", name)
	if err := json.Unmarshal(out, &links); err != nil || len(links) != 1 || len(links[0].VFs) == 0 {
		p.t.Fatalf("ip says %s: %v", out, err)
	}
	return links[0].VFs[0]
}

// TestRequestedSettings: after a reset, the settings on the PF that sriov-cni was configured with are restored, and no
// other setting that the PF had at ADD.
func TestRequestedSettings(t *testing.T) {
	kit.NeedVFSettings(t)
	p := newPod(t)
	pf, err := topology.Netdev(p.cards[0].PF.PCI)
	kit.Must(t, err)
	p.ip("link", "set", pf, "vf", "0", "vlan", "100", "qos", "3")
	p.ip("link", "set", pf, "vf", "0", "trust", "on")
	p.ip("link", "set", pf, "vf", "0", "spoofchk", "off")
	t.Cleanup(func() {
		for _, args := range [][]string{{"vlan", "0"}, {"trust", "off"}, {"spoofchk", "on"}} {
			p.ip(append([]string{"link", "set", pf, "vf", "0"}, args...)...)
		}
	})
	p.attachVFs()
	cacheVF(t, p.name+"-net1", map[string]any{"deviceID": p.cards[0].VFs[0].PCI, "Master": "gone0", "vlan": 100, "vlanQoS": 3, "trust": "on", "spoofchk": "", "min_tx_rate": nil})
	d := p.direct("1.1.0", map[string]any{"mode": 1, "failOverMac": 1})
	d.add()
	if s := d.record().Members[0].VF.Settings; s.VLAN == nil || s.VLAN.ID != 100 || s.Trust == nil || !*s.Trust || s.SpoofChk != nil || s.MAC != nil || s.Rate != nil {
		t.Errorf("recorded: %s", s)
	}
	if s := d.record().Members[1].VF.Settings; s.SpoofChk == nil || s.MAC == nil {
		t.Errorf("of a VF that sriov-cni did not attach: %s", s)
	}
	p.driver(0, "unbind")
	p.ip("link", "set", pf, "vf", "0", "vlan", "0")
	p.ip("link", "set", pf, "vf", "0", "trust", "off")
	p.ip("link", "set", pf, "vf", "0", "spoofchk", "on")
	p.driver(0, "bind")
	p.wait("the VF to be back in the bond", func() bool { d.converge(); l := p.links()["net1"]; return l != nil && l.Master == "bond0" })
	vf := p.onPF(0)
	if fmt.Sprint(vf["vlan_list"], vf["trust"], vf["spoofchk"]) != "[map[qos:3 vlan:100]] true true" {
		t.Errorf("on the PF: %v; want vlan 100, trust on, and spoofchk as it was found", vf)
	}
	d.must("DEL")
}
