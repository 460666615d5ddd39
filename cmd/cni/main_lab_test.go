//go:build lab

package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"

	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

func okd(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "pkg", "cni", "testdata", "okd.json"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestOKDPage: the page's config, byte for byte, gives the page's picture.
func TestOKDPage(t *testing.T) {
	p := newPod(t)
	p.attachVFs()
	before := p.links()
	conf := p.conf(okd(t))
	result := p.add(conf, "net3")
	links := p.links()
	b := links["net3"]
	if b == nil || b.LinkInfo.Kind != "bond" || b.MTU != 1500 || !b.up() {
		t.Fatalf("bond: %+v", b)
	}
	for key, want := range map[string]any{"mode": "active-backup", "miimon": 100.0, "fail_over_mac": "active"} {
		if got := b.LinkInfo.Data[key]; got != want {
			t.Errorf("%s is %v, want %v", key, got, want)
		}
	}
	if len(result.IPs) != 1 || len(b.AddrInfo) == 0 {
		t.Fatalf("result's IPs: %v; the bond's: %v", result.IPs, b.AddrInfo)
	}
	if a := b.AddrInfo[0]; fmt.Sprintf("%s/%d", a.Local, a.PrefixLen) != result.IPs[0].Address.String() || !strings.HasPrefix(a.Local, "10.56.217.") {
		t.Errorf("the bond has %v, the result %v", b.AddrInfo, result.IPs)
	}
	if route := string(p.ip("-n", p.name, "route", "show", "default")); !strings.Contains(route, "via 10.56.217.1 dev net3") {
		t.Errorf("default route: %q", route)
	}
	for _, name := range []string{"net1", "net2"} {
		if l := links[name]; l == nil || l.Master != "net3" || !l.up() || l.Address != before[name].Address {
			t.Errorf("%s: %+v; before: %+v", name, l, before[name])
		}
	}
	p.waitActive("net3")
	active := p.proc("net3", "Currently Active Slave")
	if now := p.links(); now["net3"].Address != now[active].Address {
		t.Errorf("the bond has MAC %s, its active member %s has %s", now["net3"].Address, active, now[active].Address)
	}
	p.del(conf, "net3")
	p.likeBefore(before)
	p.del(conf, "net3")
	p.likeBefore(before)
}

// TestModes goes through all modes with ADD, CHECK, DEL, DEL.
func TestModes(t *testing.T) {
	whole := newPod(t)
	whole.attachVFs()
	before := whole.links()
	for i, mode := range []string{"balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"} {
		t.Run(mode, func(t *testing.T) {
			p := whole.in(t)
			conf := p.config("1.1.0", fmt.Sprintf(`"mode":%d`, i))
			result := p.add(conf, "bond0")
			b := p.links()["bond0"]
			if b.LinkInfo.Data["mode"] != mode || b.LinkInfo.Data["miimon"] != 100.0 {
				t.Errorf("the kernel says %v", b.LinkInfo.Data)
			}
			if got := result.Interfaces[0]; got.Mac != b.Address || got.Mtu != b.MTU || got.Sandbox != p.netns {
				t.Errorf("result %+v, the bond has MAC %s and MTU %d", got, b.Address, b.MTU)
			}
			if err := p.cni.CheckNetwork(t.Context(), conf, p.runtime("bond0")); err != nil {
				t.Errorf("CHECK: %v", err)
			}
			p.ip("-n", p.name, "addr", "flush", "dev", "bond0")
			if err := p.cni.CheckNetwork(t.Context(), conf, p.runtime("bond0")); err == nil || !strings.Contains(err.Error(), "192.0.2.7") {
				t.Errorf("CHECK without addresses: %v", err)
			}
			p.del(conf, "bond0")
			p.likeBefore(before)
			p.del(conf, "bond0")
		})
	}
}

// TestVersions goes through all versions of the CNI specification with ADD and DEL.
func TestVersions(t *testing.T) {
	whole := newPod(t)
	whole.attachVFs()
	before := whole.links()
	for _, version := range []string{"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		t.Run(version, func(t *testing.T) {
			p := whole.in(t)
			conf := p.config(version, `"mode":"active-backup","failOverMac":1`)
			result := p.add(conf, "bond0")
			if len(result.IPs) != 2 {
				t.Errorf("IPs: %v", result.IPs)
			}
			p.del(conf, "bond0")
			p.likeBefore(before)
		})
	}
}

// TestLinksInHost: the members are moved into the pod and back.
func TestLinksInHost(t *testing.T) {
	p := newPod(t)
	var names []string
	macs := map[string]string{}
	for _, c := range p.cards {
		name, err := topology.Netdev(c.VFs[0].PCI)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
		l, err := net.InterfaceByName(name)
		if err != nil {
			t.Fatal(err)
		}
		macs[name] = l.HardwareAddr.String()
	}
	before := p.links()
	for _, fields := range []string{`"mode":"active-backup","failOverMac":1`, `"mode":"balance-xor"`} {
		conf := p.config("1.0.0", fmt.Sprintf(`%s,"linksInContainer":false,"links":[{"name":%q},{"name":%q}],"ipam":{}`, fields, names[0], names[1]))
		p.add(conf, "bond0")
		for _, name := range names {
			if l := p.links()[name]; l == nil || l.Master != "bond0" || !l.up() {
				t.Errorf("%s in the pod: %+v", name, l)
			}
		}
		p.del(conf, "bond0")
		p.likeBefore(before)
		for _, name := range names {
			if l, err := net.InterfaceByName(name); err != nil || l.HardwareAddr.String() != macs[name] {
				t.Errorf("%s in the host: %+v, %v; it had MAC %s", name, l, err, macs[name])
			}
		}
		p.del(conf, "bond0")
	}
}

// TestFailingAdds: an ADD whose IPAM fails leaves nothing; one that is killed in the middle
// leaves what DEL, or the next ADD, clears away.
func TestFailingAdds(t *testing.T) {
	p := newPod(t)
	p.attachVFs()
	before := p.links()
	for name, script := range map[string]string{"failing": "exit 1", "killing": "kill -9 $PPID"} {
		text := "#!/bin/sh\n[ \"$CNI_COMMAND\" != ADD ] || " + script + "\n"
		if err := os.WriteFile(filepath.Join(binDir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	config := func(ipam string) *libcni.PluginConfig {
		return p.config("1.0.0", `"mode":"balance-rr","mtu":1400,"ipam":{"type":"`+ipam+`"}`)
	}
	if _, err := p.cni.AddNetwork(t.Context(), config("failing"), p.runtime("bond0")); err == nil || !strings.Contains(err.Error(), "IPAM failing ADD") {
		t.Errorf("ADD: %v", err)
	}
	p.likeBefore(before)
	for _, next := range []string{"DEL", "ADD"} {
		if _, err := p.cni.AddNetwork(t.Context(), config("killing"), p.runtime("bond0")); err == nil {
			t.Error("ADD succeeded though it was killed")
		}
		if p.links()["bond0"] == nil {
			t.Error("ADD was killed before it had made anything; the test proves nothing")
		}
		if next == "ADD" {
			p.add(p.config("1.0.0", `"mode":"active-backup","failOverMac":1`), "bond0")
		}
		p.del(config("killing"), "bond0")
		p.likeBefore(before)
	}
}

// TestVFLostAtDEL: a VF that lies in the host when DEL comes is put back into the pod, where
// its own plugin finds it.
func TestVFLostAtDEL(t *testing.T) {
	p := newPod(t)
	p.moveVFs()
	before := p.links()
	conf := p.config("1.0.0", `"mode":"active-backup","failOverMac":1`)
	p.add(conf, "bond0")
	vf := p.cards[0].VFs[0].PCI
	for _, file := range []string{"unbind", "bind"} {
		if err := os.WriteFile("/sys/bus/pci/drivers/igbvf/"+file, []byte(vf), 0o200); err != nil {
			t.Fatal(err)
		}
	}
	p.wait("the VF's netdev", func() bool { _, err := topology.Netdev(vf); return err == nil })
	p.del(conf, "bond0")
	if l := p.links()["net1"]; l == nil || l.Master != "" || l.Address != before["net1"].Address {
		t.Errorf("net1 in the pod: %+v, before %+v", l, before["net1"])
	}
}
