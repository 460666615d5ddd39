//go:build lab

package main

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// ipv6Config has one IPv6 address, with a gateway.
func (p *pod) ipv6Config(fields string) []byte {
	return []byte(fmt.Sprintf(`{"cniVersion":"1.0.0","name":"lab","type":"bond","stateDir":%q,"linksInContainer":true,"mode":1,"failOverMac":1,
		"links":[{"name":"net1"},{"name":"net2"}],"ipam":{"type":"static","addresses":[{"address":"2001:db8::7/64","gateway":"2001:db8::1"}]}%s}`, p.state, fields))
}

// TestDuplicateIPv6Address: an address that another host on the segment has fails ADD, which names it, and leaves nothing
// behind. With dad false it is taken.
func TestDuplicateIPv6Address(t *testing.T) {
	p, peer := newPod(t), newPod(t)
	p.attachVFs()
	name, err := topology.Netdev(p.cards[0].VFs[1].PCI)
	if err != nil {
		t.Fatal(err)
	}
	peer.ip("link", "set", name, "netns", peer.name, "name", "peer0")
	peer.ip("-n", peer.name, "addr", "add", "2001:db8::7/64", "dev", "peer0", "nodad")
	peer.ip("-n", peer.name, "link", "set", "peer0", "up")
	peer.wait("the peer's carrier", func() bool { return peer.links()["peer0"].OperState == "UP" })
	for _, name := range []string{"net1", "net2"} { // as sriov-cni leaves them: so that the bond carries within ADD
		p.ip("-n", p.name, "link", "set", name, "up")
		p.wait("the carrier of "+name, func() bool { return p.links()[name].OperState == "UP" })
	}
	before := p.links()
	conf := p.conf(p.ipv6Config(""))
	_, err = p.cni.AddNetwork(t.Context(), conf, p.runtime("bond0"))
	if err == nil || !strings.Contains(err.Error(), "2001:db8::7") || !strings.Contains(err.Error(), "duplicate") {
		t.Errorf("ADD with an address that the peer has: %v", err)
	}
	t.Log(err)
	p.likeBefore(before)
	conf = p.conf(p.ipv6Config(`,"dad":false`))
	p.add(conf, "bond0")
	p.del(conf, "bond0")
	p.likeBefore(before)
}

// TestIPv6AddressSurvivesDown: without an agent, an IPv6 address stays when the bond goes down and up.
func TestIPv6AddressSurvivesDown(t *testing.T) {
	p := newPod(t)
	p.attachVFs()
	for _, fields := range []string{"", `,"dad":false`} {
		conf := p.conf(p.ipv6Config(fields))
		p.add(conf, "bond0")
		if a := p.addresses("bond0"); !strings.Contains(a, "2001:db8::7/64") || strings.Contains(a, "2001:db8::7/64 dadfailed") {
			t.Errorf("addresses after ADD: %s", a)
		}
		p.ip("-n", p.name, "link", "set", "bond0", "down")
		p.ip("-n", p.name, "link", "set", "bond0", "up")
		if a := p.addresses("bond0"); !strings.Contains(a, "2001:db8::7/64") {
			t.Errorf("addresses after down and up: %s", a)
		}
		p.del(conf, "bond0")
	}
}

// addresses are the IPv6 addresses of a link, each with what duplicate address detection says of it.
func (p *pod) addresses(name string) string {
	p.t.Helper()
	var list []struct {
		AddrInfo []struct {
			Local     string `json:"local"`
			PrefixLen int    `json:"prefixlen"`
			Failed    bool   `json:"dadfailed"`
			Tentative bool   `json:"tentative"`
		} `json:"addr_info"`
	}
	out, err := exec.Command("ip", "-n", p.name, "-6", "-j", "addr", "show", "dev", name).Output()
	if err != nil || json.Unmarshal(out, &list) != nil {
		p.t.Fatalf("ip: %v: %s", err, out)
	}
	var all []string
	for _, l := range list {
		for _, a := range l.AddrInfo {
			s := fmt.Sprintf("%s/%d", a.Local, a.PrefixLen)
			if a.Failed {
				s += " dadfailed"
			}
			if a.Tentative {
				s += " tentative"
			}
			all = append(all, s)
		}
	}
	return strings.Join(all, ", ")
}
