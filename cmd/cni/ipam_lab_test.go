//go:build lab

package main

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// TestNeighboursLearnAMovedAddress: a host that communicated with the last owner of an address reaches the new one
// without asking.
func TestNeighboursLearnAMovedAddress(t *testing.T) {
	p, peer := newPod(t), newPod(t)
	p.attachVFs()
	name, err := topology.Netdev(p.cards[0].VFs[1].PCI)
	kit.Must(t, err)
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
			if i == 0 { // the first address has no earlier owner
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
