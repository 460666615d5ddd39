//go:build lab

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// linkJSON is a link in the output of `ip -d -j addr`.
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
		DADFailed bool   `json:"dadfailed"`
	} `json:"addr_info"`
}

func (l *linkJSON) up() bool { return strings.Contains(strings.Join(l.Flags, ","), "UP") }

// pod is a netns with a VF of each of two cards, attached as net1 and net2 by the host-device plugin.
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
	kit.Must(t, err)
	if len(guest.Cards) < 2 {
		t.Fatalf("the guest has %d cards, want 2", len(guest.Cards))
	}
	name := fmt.Sprintf("pod%d", time.Now().UnixNano()%1e6)
	p := &pod{t: t, name: name, netns: "/run/netns/" + name, cards: guest.Cards[:2], state: filepath.Join(t.TempDir(), "state"),
		cni: libcni.NewCNIConfigWithCacheDir([]string{binDir}, t.TempDir(), nil)}
	for _, c := range p.cards {
		pf, err := topology.Netdev(c.PF.PCI)
		kit.Must(t, err)
		p.ip("link", "set", pf, "up")
	}
	p.ip("netns", "add", name)
	t.Cleanup(func() { p.ip("netns", "del", name) })
	return p
}

// ip runs iproute2 and returns its standard output.
func (p *pod) ip(args ...string) []byte {
	p.t.Helper()
	return kit.MustIP(p.t, args...)
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

// attachVFs moves the first VF of each card into the pod, and back after the test.
func (p *pod) attachVFs() {
	p.t.Helper()
	for i := range p.cards {
		p.t.Cleanup(p.attach(i))
	}
}

// attach makes host-device attach the first VF of a card to the pod, and returns a function that detaches it, which may
// run after the test.
func (p *pod) attach(card int) (detach func()) {
	p.t.Helper()
	vf := p.cards[card].VFs[0].PCI
	conf := p.conf([]byte(fmt.Sprintf(`{"cniVersion":"1.0.0","name":"vf","type":"host-device","pciBusID":%q}`, vf)))
	rt := p.runtime(fmt.Sprintf("net%d", card+1))
	if _, err := p.cni.AddNetwork(p.t.Context(), conf, rt); err != nil {
		p.t.Fatalf("host-device: %v", err)
	}
	return func() {
		p.t.Helper()
		if err := p.cni.DelNetwork(context.Background(), conf, rt); err != nil {
			p.t.Errorf("host-device cannot take %s back: %v", vf, err)
		}
	}
}

// moveVFs is attachVFs without a plugin; the VFs return with the netns.
func (p *pod) moveVFs() {
	p.t.Helper()
	for i, c := range p.cards {
		name, err := topology.Netdev(c.VFs[0].PCI)
		kit.Must(p.t, err)
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
	kit.Must(p.t, err)
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
	var text []byte
	err := p.inside(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/bonding/" + ifName)
		return err
	})
	kit.Must(p.t, err)
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(strings.TrimSpace(line), field+": "); found {
			return value
		}
	}
	p.t.Fatalf("no %q in\n%s", field, text)
	return ""
}

// waitActive waits until the bond carries traffic.
func (p *pod) waitActive(ifName string) {
	p.t.Helper()
	p.wait("a member that carries", func() bool { return p.proc(ifName, "Currently Active Slave") != "None" })
}

func (p *pod) wait(what string, ok func() bool) {
	p.t.Helper()
	kit.Eventually(p.t, what, ok, func() string { return string(p.ip("-n", p.name, "-d", "addr")) })
}

// likeBefore checks that the pod's links are as before (name, MAC, MTU, master, up or down), and that there is no bond
// and no record.
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

// config is a plugin config with its own state directory.
func (p *pod) config(version, fields string) *libcni.PluginConfig {
	p.t.Helper()
	return p.conf([]byte(fmt.Sprintf(`{"cniVersion":%q,"name":"lab","type":"bond","stateDir":%q,"linksInContainer":true,"links":[{"name":"net1"},{"name":"net2"}],
		"ipam":{"type":"static","addresses":[{"address":"192.0.2.7/24","gateway":"192.0.2.1"},{"address":"2001:db8::7/64"}],"routes":[{"dst":"198.51.100.0/24"}]},%s}`, version, p.state, fields)))
}

// in is the same pod for a subtest.
func (p *pod) in(t *testing.T) *pod {
	sub := *p
	sub.t = t
	return &sub
}
