//go:build lab

package main

import (
	"fmt"
	"net"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// inHost is a VF's name and MAC in the host.
func (p *pod) inHost(card int) (name, mac string) {
	p.t.Helper()
	name, err := topology.Netdev(p.cards[card].VFs[0].PCI)
	kit.Must(p.t, err)
	l, err := net.InterfaceByName(name)
	kit.Must(p.t, err)
	return name, l.HardwareAddr.String()
}

// TestHostDeviceGetsItsVFsBack: the DEL of host-device runs after the bond's and returns the VFs to the host with their
// original names and MACs. This also works if a driver returned one of them to the host meanwhile and no agent runs.
func TestHostDeviceGetsItsVFsBack(t *testing.T) {
	shared := newPod(t)
	for _, lost := range [][]int{nil, {0}, {0, 1}} {
		t.Run(fmt.Sprintf("lost %v", lost), func(t *testing.T) {
			p := shared.in(t)
			var names, macs [2]string
			for i := range p.cards {
				name, own := p.inHost(i)
				names[i], macs[i] = fmt.Sprintf("orig%d", i), fmt.Sprintf("02:00:00:00:0e:%02x", i) // what no driver gives
				p.ip("link", "set", name, "down", "name", names[i], "address", macs[i])
				defer func() { p.ip("link", "set", names[i], "address", own) }()
			}
			detach := []func(){p.attach(0), p.attach(1)}
			before := p.links()
			conf := p.config("1.0.0", `"mode":"active-backup","failOverMac":1`)
			p.add(conf, "bond0")
			for _, i := range lost {
				p.driver(i, "unbind")
				p.driver(i, "bind")
				p.wait("the VF's netdev", func() bool { _, err := topology.Netdev(p.cards[i].VFs[0].PCI); return err == nil })
				if name, mac := p.inHost(i); name == names[i] || mac == macs[i] {
					t.Errorf("the driver brought the VF back as %s with MAC %s, as if nothing had been; the test proves nothing", name, mac)
				}
			}
			p.del(conf, "bond0")
			if len(lost) == 0 {
				p.likeBefore(before)
			}
			for i := len(detach) - 1; i >= 0; i-- { // as Multus does, the last one first
				detach[i]()
				if name, mac := p.inHost(i); name != names[i] || mac != macs[i] {
					t.Errorf("the VF is in the host as %s with MAC %s, was %s with %s", name, mac, names[i], macs[i])
				}
			}
		})
	}
}
