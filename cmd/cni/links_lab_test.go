//go:build lab

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/link/sriovcni"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// note writes what sriov-cni notes when it puts a VF into this pod.
func (p *pod) note(name string, fields map[string]any) {
	p.t.Helper()
	text, err := json.Marshal(fields)
	if err == nil {
		err = os.MkdirAll(sriovcni.DefaultDir+"/pci/vf_lock", 0o700)
	}
	path := filepath.Join(sriovcni.DefaultDir, p.name+"-"+name)
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = os.Remove(path) })
}

// driver unbinds or binds the driver of the first VF of a card.
func (p *pod) driver(card int, verb string) {
	p.t.Helper()
	if err := os.WriteFile("/sys/bus/pci/drivers/igbvf/"+verb, []byte(p.cards[card].VFs[0].PCI), 0o200); err != nil {
		p.t.Fatal(err)
	}
}

// onPF is what `ip -d -j link` says of the first VF of a card on its PF.
func (p *pod) onPF(card int) map[string]any {
	p.t.Helper()
	name, err := topology.Netdev(p.cards[card].PF.PCI)
	if err != nil {
		p.t.Fatal(err)
	}
	var links []struct {
		VFs []map[string]any `json:"vfinfo_list"`
	}
	out := p.ip("-d", "-j", "link", "show", "dev", name)
	if err := json.Unmarshal(out, &links); err != nil || len(links) != 1 || len(links[0].VFs) == 0 {
		p.t.Fatalf("ip says %s: %v", out, err)
	}
	return links[0].VFs[0]
}

// TestAskedSettings: what is put back on the PF after a reset is what sriov-cni was asked for, and
// nothing else that the PF showed at ADD.
func TestAskedSettings(t *testing.T) {
	p := newPod(t)
	pf, err := topology.Netdev(p.cards[0].PF.PCI)
	if err != nil {
		t.Fatal(err)
	}
	p.ip("link", "set", pf, "vf", "0", "vlan", "100", "qos", "3")
	p.ip("link", "set", pf, "vf", "0", "trust", "on")
	p.ip("link", "set", pf, "vf", "0", "spoofchk", "off")
	t.Cleanup(func() {
		for _, args := range [][]string{{"vlan", "0"}, {"trust", "off"}, {"spoofchk", "on"}} {
			p.ip(append([]string{"link", "set", pf, "vf", "0"}, args...)...)
		}
	})
	p.attachVFs()
	p.note("net1", map[string]any{"deviceID": p.cards[0].VFs[0].PCI, "Master": "gone0", "vlan": 100, "vlanQoS": 3, "trust": "on", "spoofchk": "", "min_tx_rate": nil})
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

// TestStartDegradedInTheLab: a VF that is away at ADD joins when it comes, under its name and with its MAC.
func TestStartDegradedInTheLab(t *testing.T) {
	p := newPod(t)
	p.moveVFs()
	before := p.links()
	p.note("net2", map[string]any{"deviceID": p.cards[1].VFs[0].PCI, "MAC": "", "OrigVfState": map[string]any{"EffectiveMAC": before["net2"].Address}})
	p.driver(1, "unbind")
	bound := false
	t.Cleanup(func() {
		if !bound {
			p.driver(1, "bind")
		}
	})
	d := p.direct("1.1.0", map[string]any{"mode": 1, "failOverMac": 1})
	if _, err := d.verb("ADD"); err == nil || !strings.Contains(err.Error(), p.cards[1].VFs[0].PCI) {
		t.Errorf("ADD without it: %v", err)
	}
	d.config["startDegraded"] = true
	d.add()
	d.must("CHECK")
	if m := d.record().Members[1]; string(m.PCI) != p.cards[1].VFs[0].PCI || string(m.MAC) != before["net2"].Address || m.VF == nil {
		t.Errorf("recorded as %+v", m)
	}
	p.driver(1, "bind")
	bound = true
	p.wait("the VF to join", func() bool { d.converge(); l := p.links()["net2"]; return l != nil && l.Master == "bond0" })
	if l := p.links()["net2"]; l.Address != before["net2"].Address || !l.up() {
		t.Errorf("it joined as %+v", l)
	}
	d.must("DEL")
	if l := p.links()["net2"]; l == nil || l.Master != "" || l.Address != before["net2"].Address {
		t.Errorf("after DEL: %+v", l)
	}
}

// TestLinkTimeoutInTheLab: ADD waits for a VF, in the pod or, where sriov-cni noted which one it is, in the host.
func TestLinkTimeoutInTheLab(t *testing.T) {
	p := newPod(t)
	p.moveVFs()
	d := p.direct("1.1.0", map[string]any{"mode": 1, "failOverMac": 1, "linkTimeout": 60})
	for _, known := range []bool{true, false} {
		if known {
			p.note("net1", map[string]any{"deviceID": p.cards[0].VFs[0].PCI})
		} else {
			_ = os.Remove(filepath.Join(sriovcni.DefaultDir, p.name+"-net1"))
		}
		p.driver(0, "unbind")
		done := make(chan error, 1)
		began := time.Now()
		go func() {
			_, err := d.verb("ADD")
			done <- err
		}()
		select {
		case err := <-done:
			t.Fatalf("ADD did not wait: %v", err)
		case <-time.After(300 * time.Millisecond): // it is to wait, which nothing shows
		}
		p.driver(0, "bind")
		if !known {
			p.wait("the netdev", func() bool { _, err := topology.Netdev(p.cards[0].VFs[0].PCI); return err == nil })
			name, err := topology.Netdev(p.cards[0].VFs[0].PCI)
			if err != nil {
				t.Fatal(err)
			}
			p.ip("link", "set", name, "netns", p.name, "name", "net1")
		}
		if err := <-done; err != nil {
			t.Fatalf("known %t: %v", known, err)
		}
		t.Logf("known %t: ADD took %s", known, time.Since(began))
		if l := p.links()["net1"]; l == nil || l.Master != "bond0" {
			t.Errorf("known %t: net1 is %+v", known, l)
		}
		d.must("DEL")
	}
}

// TestLinkSettingsInTheLab: queue IDs and priorities as others read them, after ADD and after repair.
func TestLinkSettingsInTheLab(t *testing.T) {
	p := newPod(t)
	p.attachVFs()
	before := p.links()
	d := p.direct("1.1.0", map[string]any{"mode": 1, "failOverMac": 1, "links": []any{
		map[string]any{"name": "net1", "queueId": 2, "prio": 10}, map[string]any{"name": "net2", "queueId": 1, "prio": 20},
	}})
	d.add()
	wants := func(when string) {
		t.Helper()
		for name, want := range map[string]string{"net1": "2 10", "net2": "1 20"} {
			data := p.slave(name)
			if got := fmt.Sprint(data["queue_id"], data["prio"]); got != want {
				t.Errorf("%s %s has queue and priority %s, want %s", when, name, got, want)
			}
		}
	}
	wants("after ADD")
	p.wait("the highest priority to be active", func() bool { d.converge(); return p.proc("bond0", "Currently Active Slave") == "net2" })
	p.ip("-n", p.name, "link", "set", "net2", "down")
	p.ip("-n", p.name, "link", "set", "net2", "nomaster")
	d.converge()
	wants("after repair")
	p.ip("-n", p.name, "link", "set", "net2", "type", "bond_slave", "queue_id", "0")
	p.ip("-n", p.name, "link", "set", "net1", "type", "bond_slave", "queue_id", "1")
	p.ip("-n", p.name, "link", "set", "net2", "type", "bond_slave", "queue_id", "2", "prio", "-5")
	d.converge()
	wants("after they were traded by hand")
	d.must("DEL")
	p.likeBefore(before)
}

// slave is what ip says of a link as a member of its bond.
func (p *pod) slave(name string) map[string]any {
	p.t.Helper()
	var links []struct {
		LinkInfo struct {
			Data map[string]any `json:"info_slave_data"`
		} `json:"linkinfo"`
	}
	out := p.ip("-n", p.name, "-d", "-j", "link", "show", "dev", name)
	if err := json.Unmarshal(out, &links); err != nil || len(links) != 1 {
		p.t.Fatalf("ip says %s: %v", out, err)
	}
	return links[0].LinkInfo.Data
}

// TestMACsInTheLab: the MAC that is asked for, and links that are alike, in every mode that cares, given back on DEL.
func TestMACsInTheLab(t *testing.T) {
	whole := newPod(t)
	whole.moveVFs()
	own := whole.links()["net2"].Address
	const asked = "02:00:00:00:00:99"
	for _, mode := range []map[string]any{
		{"mode": 1, "failOverMac": 0}, {"mode": 1, "failOverMac": 1}, {"mode": 1, "failOverMac": 2}, {"mode": 0}, {"mode": 5}, {"mode": 6},
	} {
		for _, alike := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, alike %t", mode, alike), func(t *testing.T) {
				p := whole.in(t)
				second, want := own, asked
				if alike {
					second = p.links()["net1"].Address
					want = second
				}
				p.ip("-n", p.name, "link", "set", "net2", "address", second)
				before := p.links()
				d := p.direct("1.1.0", mode)
				if !alike {
					d.config["mac"] = asked
				}
				result := d.add()
				p.wait("members that carry", func() bool {
					d.converge()
					return p.proc("bond0", "MII Status") == "up" && p.links()["bond0"].Address == want
				})
				if got := result.Interfaces[0].Mac; got != want {
					t.Errorf("the result says %s, want %s", got, want)
				}
				d.must("CHECK")
				d.must("DEL")
				p.likeBefore(before)
				p.ip("-n", p.name, "link", "set", "net2", "address", own)
			})
		}
	}
}

// TestRoutesInTheLab: every field of a route of CNI 1.1 as ip shows it; IPv6 addresses are there at once.
func TestRoutesInTheLab(t *testing.T) {
	p := newPod(t)
	p.attachVFs()
	before := p.links()
	conf := p.conf([]byte(fmt.Sprintf(`{"cniVersion":"1.1.0","name":"lab","type":"bond","stateDir":%q,"linksInContainer":true,"mode":1,"failOverMac":1,
		"links":[{"name":"net1"},{"name":"net2"}],"ipam":{"type":"static","addresses":[{"address":"192.0.2.7/24"},{"address":"198.51.100.7/24"},{"address":"2001:db8::7/64"}],
		"routes":[{"dst":"0.0.0.0/0","gw":"192.0.2.1","mtu":1400,"advmss":1360,"priority":50,"table":100},{"dst":"203.0.113.0/24","scope":253},
		{"dst":"2001:db8:1::/48","gw":"2001:db8::1","priority":7,"mtu":1300}]}}`, p.state)))
	result := p.add(conf, "bond0")
	if err := p.cni.CheckNetwork(t.Context(), conf, p.runtime("bond0")); err != nil {
		t.Errorf("CHECK: %v", err)
	}
	routes := string(p.ip("-n", p.name, "route", "show", "table", "all", "dev", "bond0")) + string(p.ip("-n", p.name, "-6", "route", "show", "table", "all", "dev", "bond0"))
	for _, want := range []string{
		"default via 192.0.2.1 table 100 metric 50 mtu 1400 advmss 1360", "203.0.113.0/24 scope link",
		"2001:db8:1::/48 via 2001:db8::1 metric 7 mtu 1300",
	} {
		if !strings.Contains(routes, want) {
			t.Errorf("no route %q in\n%s", want, routes)
		}
	}
	if len(result.IPs) != 3 || len(result.Routes) != 3 || *result.Routes[0].Table != 100 {
		t.Errorf("result: %v", result)
	}
	p.del(conf, "bond0")
	p.likeBefore(before)
}

// TestMTUInTheLab: the bond has the least of its members' and their PFs'; more is refused with both figures.
func TestMTUInTheLab(t *testing.T) {
	p := newPod(t)
	p.attachVFs()
	p.ip("-n", p.name, "link", "set", "net2", "mtu", "1400")
	t.Cleanup(func() { p.ip("-n", p.name, "link", "set", "net2", "mtu", "1500") })
	before := p.links()
	d := p.direct("1.1.0", map[string]any{"mode": 1, "failOverMac": 1})
	d.add()
	if got := p.links()["bond0"].MTU; got != 1400 {
		t.Errorf("derived MTU %d", got)
	}
	d.must("DEL")
	p.likeBefore(before)
	d.prev = nil
	d.config["mtu"] = 1450
	if _, err := d.verb("ADD"); err == nil || !strings.Contains(err.Error(), "1450") || !strings.Contains(err.Error(), "1400") || !strings.Contains(err.Error(), "net2") {
		t.Errorf("more than a link has: %v", err)
	}
	pf, err := topology.Netdev(p.cards[0].PF.PCI)
	if err != nil {
		t.Fatal(err)
	}
	p.ip("link", "set", pf, "mtu", "1300")
	t.Cleanup(func() { p.ip("link", "set", pf, "mtu", "1500") })
	d.config["mtu"] = 1350
	if _, err := d.verb("ADD"); err == nil || !strings.Contains(err.Error(), "1350") || !strings.Contains(err.Error(), "1300") || !strings.Contains(err.Error(), pf) {
		t.Errorf("more than a PF has: %v", err)
	}
	p.likeBefore(before)
}
