//go:build lab

package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// hidePF moves a PF's netdev out of the host's netns until the test ends, which looks like a PF without netdev.
func (p *pod) hidePF(card int) {
	p.t.Helper()
	name, err := topology.Netdev(p.cards[card].PF.PCI)
	kit.Must(p.t, err)
	elsewhere := fmt.Sprintf("%spf%d", p.name, card)
	p.ip("netns", "add", elsewhere)
	p.ip("link", "set", name, "netns", elsewhere)
	p.ip("-n", elsewhere, "link", "set", name, "up")
	p.t.Cleanup(func() {
		p.ip("-n", elsewhere, "link", "set", name, "netns", "1")
		p.ip("link", "set", name, "up")
		p.ip("netns", "del", elsewhere)
	})
}

// TestPFWithoutNetdev: ADD warns and makes the bond. A VF without requested settings is restored after a loss. One with
// a VLAN is not, because the VLAN cannot be verified.
func TestPFWithoutNetdev(t *testing.T) {
	kit.NeedVFSettings(t)
	p := newPod(t)
	p.moveVFs()
	cacheVF(t, p.name+"-net2", map[string]any{"deviceID": p.cards[1].VFs[0].PCI, "Master": "gone", "vlan": 100, "vlanQoS": 0})
	p.hidePF(0)
	p.hidePF(1)
	d := p.direct("1.1.0", map[string]any{"mode": 1, "failOverMac": 1})
	d.add()
	d.must("CHECK")
	rec := d.record()
	if w := strings.Join(rec.Warnings, "\n"); strings.Count(w, "has no usable network link (driver igb)") != 2 {
		t.Errorf("warnings: %s", w)
	}
	if vf := rec.Members[0].VF; vf == nil || string(vf.PF) != p.cards[0].PF.PCI || !vf.Settings.Empty() {
		t.Errorf("recorded of net1: %+v", vf)
	}
	if vf := rec.Members[1].VF; vf == nil || vf.Settings.VLAN == nil || vf.Settings.VLAN.ID != 100 {
		t.Errorf("recorded of net2: %+v", vf)
	}
	for i := range p.cards {
		p.driver(i, "unbind")
		p.driver(i, "bind")
		p.wait("the VF's netdev", func() bool { _, err := topology.Netdev(p.cards[i].VFs[0].PCI); return err == nil })
	}
	p.wait("net1 to be back in the bond", func() bool { d.converge(); l := p.links()["net1"]; return l != nil && l.Master == "bond0" })
	out := d.converge()
	if p.links()["net2"] != nil || out.Status.State == bond.StateReady || !strings.Contains(out.Status.Reason, "its settings cannot be verified (vlan 100") {
		t.Errorf("%s: %s", out.Status.State, out.Status.Reason)
	}
	d.must("DEL")
}
