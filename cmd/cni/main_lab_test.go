//go:build lab

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// patience bounds the wait for a VF's carrier, some three seconds after its PF's.
const patience = time.Minute

// linkJSON is what `ip -d -j addr` says of a link.
type linkJSON struct {
	IfName    string   `json:"ifname"`
	Master    string   `json:"master"`
	MTU       int      `json:"mtu"`
	Address   string   `json:"address"`
	Flags     []string `json:"flags"`
	OperState string   `json:"operstate"`
	LinkInfo  struct {
		Kind string         `json:"info_kind"`
		Data map[string]any `json:"info_data"`
	} `json:"linkinfo"`
	AddrInfo []struct {
		Local     string `json:"local"`
		PrefixLen int    `json:"prefixlen"`
		Scope     string `json:"scope"`
	} `json:"addr_info"`
}

func (l *linkJSON) up() bool { return strings.Contains(strings.Join(l.Flags, ","), "UP") }

// pod is a netns with a VF of each of two cards in it, put there as net1 and net2 by the
// host-device plugin.
type pod struct {
	t     *testing.T
	name  string
	netns string
	cni   *libcni.CNIConfig
	cards []topology.Card
	state string
}

func newPod(t *testing.T) *pod {
	t.Helper()
	guest, err := topology.Load()
	if err != nil {
		t.Fatal(err)
	}
	if len(guest.Cards) < 2 {
		t.Fatalf("the guest has %d cards, want 2", len(guest.Cards))
	}
	name := fmt.Sprintf("pod%d", time.Now().UnixNano()%1e6)
	p := &pod{t: t, name: name, netns: "/run/netns/" + name, cards: guest.Cards[:2], state: filepath.Join(t.TempDir(), "state"),
		cni: libcni.NewCNIConfigWithCacheDir([]string{binDir}, t.TempDir(), nil)}
	for _, c := range p.cards {
		pf, err := topology.Netdev(c.PF.PCI)
		if err != nil {
			t.Fatal(err)
		}
		p.ip("link", "set", pf, "up")
	}
	p.ip("netns", "add", name)
	t.Cleanup(func() { p.ip("netns", "del", name) })
	return p
}

// ip runs iproute2, and tells its standard output.
func (p *pod) ip(args ...string) []byte {
	p.t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command("ip", args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		p.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, &stderr)
	}
	return out
}

// links are the pod's links by name, as iproute2 sees them.
func (p *pod) links() map[string]*linkJSON {
	p.t.Helper()
	return p.parse(p.ip("-n", p.name, "-d", "-j", "addr", "show"))
}

func (p *pod) parse(text []byte) map[string]*linkJSON {
	p.t.Helper()
	var list []*linkJSON
	if err := json.Unmarshal(text, &list); err != nil {
		p.t.Fatalf("ip says %s: %v", text, err)
	}
	links := map[string]*linkJSON{}
	for _, l := range list {
		links[l.IfName] = l
	}
	return links
}

func (p *pod) runtime(ifName string) *libcni.RuntimeConf {
	return &libcni.RuntimeConf{ContainerID: p.name, NetNS: p.netns, IfName: ifName,
		Args: [][2]string{{"IgnoreUnknown", "1"}, {"K8S_POD_NAMESPACE", "demo"}, {"K8S_POD_NAME", p.name}}}
}

func (p *pod) conf(text []byte) *libcni.PluginConfig {
	p.t.Helper()
	conf, err := libcni.NetworkPluginConfFromBytes(text)
	if err != nil {
		p.t.Fatalf("config %s: %v", text, err)
	}
	return conf
}

// attachVFs moves the first VF of each card into the pod and takes care that they go back.
func (p *pod) attachVFs() {
	p.t.Helper()
	for i, c := range p.cards {
		conf := p.conf([]byte(fmt.Sprintf(`{"cniVersion":"1.0.0","name":"vf","type":"host-device","pciBusID":%q}`, c.VFs[0].PCI)))
		rt := p.runtime(fmt.Sprintf("net%d", i+1))
		if _, err := p.cni.AddNetwork(p.t.Context(), conf, rt); err != nil {
			p.t.Fatalf("host-device: %v", err)
		}
		p.t.Cleanup(func() {
			// The test's own context has ended when its cleanup runs.
			if err := p.cni.DelNetwork(context.Background(), conf, rt); err != nil {
				p.t.Errorf("host-device cannot take %s back: %v", c.VFs[0].PCI, err)
			}
		})
	}
}

// moveVFs is attachVFs without a plugin; the VFs go back with the netns.
func (p *pod) moveVFs() {
	p.t.Helper()
	for i, c := range p.cards {
		name, err := topology.Netdev(c.VFs[0].PCI)
		if err != nil {
			p.t.Fatal(err)
		}
		p.ip("link", "set", name, "netns", p.name, "name", fmt.Sprintf("net%d", i+1))
	}
}

func (p *pod) add(conf *libcni.PluginConfig, ifName string) *current.Result {
	p.t.Helper()
	r, err := p.cni.AddNetwork(p.t.Context(), conf, p.runtime(ifName))
	if err != nil {
		p.t.Fatalf("ADD: %v\n%s", err, p.ip("-n", p.name, "-d", "addr"))
	}
	result, err := current.NewResultFromResult(r)
	if err != nil {
		p.t.Fatal(err)
	}
	return result
}

func (p *pod) del(conf *libcni.PluginConfig, ifName string) {
	p.t.Helper()
	if err := p.cni.DelNetwork(p.t.Context(), conf, p.runtime(ifName)); err != nil {
		p.t.Fatalf("DEL: %v", err)
	}
}

// proc is a value from /proc/net/bonding in the pod.
func (p *pod) proc(ifName, field string) string {
	p.t.Helper()
	text := p.ip("netns", "exec", p.name, "cat", "/proc/net/bonding/"+ifName)
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(strings.TrimSpace(line), field+": "); found {
			return value
		}
	}
	p.t.Fatalf("no %q in\n%s", field, text)
	return ""
}

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

// waitActive waits until the bond carries.
func (p *pod) waitActive(ifName string) {
	p.t.Helper()
	p.wait("a member that carries", func() bool { return p.proc(ifName, "Currently Active Slave") != "None" })
}

func (p *pod) wait(what string, ok func() bool) {
	p.t.Helper()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-deadline:
			p.t.Fatalf("waited in vain for %s:\n%s", what, p.ip("-n", p.name, "-d", "addr"))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// likeBefore wants the pod's links as they were: name, MAC, MTU, master, up or down, no
// bond, and no record.
func (p *pod) likeBefore(before map[string]*linkJSON) {
	p.t.Helper()
	now := p.links()
	for name, b := range before {
		n := now[name]
		if n == nil || n.Address != b.Address || n.MTU != b.MTU || n.Master != b.Master || n.up() != b.up() {
			p.t.Errorf("%s is %+v, was %+v", name, n, b)
		}
	}
	if len(now) != len(before) {
		p.t.Errorf("the pod has %d links, had %d", len(now), len(before))
	}
	for _, dir := range []string{"/run/bondkeeper", p.state} {
		if records, _ := filepath.Glob(filepath.Join(dir, "*.json*")); len(records) > 0 {
			p.t.Errorf("records left: %v", records)
		}
	}
}

// config is a config of ours with its own state directory.
func (p *pod) config(version, fields string) *libcni.PluginConfig {
	p.t.Helper()
	return p.conf([]byte(fmt.Sprintf(`{"cniVersion":%q,"name":"lab","type":"bond","stateDir":%q,"linksInContainer":true,"links":[{"name":"net1"},{"name":"net2"}],
		"ipam":{"type":"static","addresses":[{"address":"192.0.2.7/24","gateway":"192.0.2.1"},{"address":"2001:db8::7/64"}],"routes":[{"dst":"198.51.100.0/24"}]},%s}`, version, p.state, fields)))
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

// in is the same pod for a subtest.
func (p *pod) in(t *testing.T) *pod {
	sub := *p
	sub.t = t
	return &sub
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
