//go:build lab

package chains

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/store"
	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
	"github.com/bondkeeper/bondkeeper/test/peers"
)

const (
	bin = "../../bin"
	// testTimeout bounds each wait. A VF has its carrier some three seconds after its PF.
	testTimeout = time.Minute
	bondName    = "bond0"
)

// quiet drops what the plugins log.
var quiet = &invoke.DefaultExec{RawExec: &invoke.RawExec{Stderr: io.Discard}, PluginDecoder: version.PluginDecoder{}}

// pod is a netns with one VF of each of two cards, and the networks of its chain.
type pod struct {
	t      *testing.T
	chain  chain
	number int // of its VFs on their cards
	name   string
	vfs    []string // PCI addresses
	cni    *libcni.CNIConfig
	lists  map[string]*libcni.NetworkConfigList // by interface name
	order  []string                             // interface names in the order of their ADDs
	// bare is the pod before the bond was added, read after the bond's set-up was complete.
	bare, made facts
	// topGone: the kernel deleted the links on top of the bond together with it.
	topGone bool
}

// newPod makes the netns and moves the VFs with this number into it.
func newPod(t *testing.T, c chain, number int) *pod {
	t.Helper()
	guest, err := topology.Load()
	kit.Must(t, err)
	p := &pod{t: t, chain: c, number: number, name: fmt.Sprintf("chain%d", number), lists: map[string]*libcni.NetworkConfigList{},
		cni: libcni.NewCNIConfigWithCacheDir(pluginDirs(), t.TempDir(), quiet)}
	for _, card := range guest.Cards[:2] {
		pf, err := topology.Netdev(card.PF.PCI)
		kit.Must(t, err)
		p.ip("link", "set", pf, "up")
		p.vfs = append(p.vfs, card.VFs[number].PCI)
	}
	p.ip("netns", "add", p.name)
	t.Cleanup(func() {
		for i := len(p.order) - 1; i >= 0; i-- { // no error if the test has done it
			_ = p.cni.DelNetworkList(context.Background(), p.lists[p.order[i]], p.runtime(p.order[i]))
		}
		p.ip("netns", "del", p.name)
	})
	p.ip("-n", p.name, "link", "set", "lo", "up")
	return p
}

// ip runs iproute2 and returns its standard output.
func (p *pod) ip(args ...string) []byte {
	p.t.Helper()
	return kit.MustIP(p.t, args...)
}

func (p *pod) runtime(ifName string) *libcni.RuntimeConf {
	return &libcni.RuntimeConf{ContainerID: p.name, NetNS: "/run/netns/" + p.name, IfName: ifName,
		Args: [][2]string{{"IgnoreUnknown", "1"}, {"K8S_POD_NAMESPACE", "chains"}, {"K8S_POD_NAME", p.name}}}
}

// add calls ADD of a chain of plugins.
func (p *pod) add(ifName string, plugins ...string) {
	p.t.Helper()
	text := fmt.Sprintf(`{"cniVersion":"1.0.0","name":"net-%s","plugins":[%s]}`, ifName, strings.Join(plugins, ","))
	list, err := libcni.NetworkConfFromBytes([]byte(text))
	if err != nil {
		p.t.Fatalf("%s: %v", text, err)
	}
	p.lists[ifName], p.order = list, append(p.order, ifName)
	if _, err := p.cni.AddNetworkList(p.t.Context(), list, p.runtime(ifName)); err != nil {
		p.t.Fatalf("ADD of %s: %v\n%s", ifName, err, p.ip("-n", p.name, "-d", "addr"))
	}
}

func pluginDirs() []string {
	dirs := []string{bin + "/cni", bin}
	if real := os.Getenv(peers.DirEnv); real != "" {
		dirs = append(dirs, real)
	}
	return dirs
}

// vfPlugin is the config of the plugin that moves a VF into the pod: host-device, or the real sriov-cni if make
// test-peers names its directory.
func vfPlugin(vf string) string {
	if os.Getenv(peers.DirEnv) != "" {
		return fmt.Sprintf(`{"type":"sriov","deviceID":%q}`, vf)
	}
	return fmt.Sprintf(`{"type":"host-device","pciBusID":%q}`, vf)
}

// build moves the VFs into the pod, and then adds the bond and what is on top of it.
func (p *pod) build(stateDir string) {
	p.t.Helper()
	for i, vf := range p.vfs {
		p.add(fmt.Sprintf("net%d", i+1), append([]string{vfPlugin(vf)}, p.chain.afterVF...)...)
	}
	p.wait("the VFs' carrier", func() bool {
		p.bare = p.facts()
		return p.bare["net1 lower_up"] == "true" && p.bare["net2 lower_up"] == "true"
	})
	config := fmt.Sprintf(`{"type":"bond","stateDir":%q,"linksInContainer":true,"links":[{"name":"net1"},{"name":"net2"}],%s}`, stateDir, p.chain.bond)
	config = strings.NewReplacer("10N/24", fmt.Sprintf("10%d/24", p.number), "::N/64", fmt.Sprintf("::%d/64", p.number+1)).Replace(config)
	p.add(bondName, append([]string{config}, p.chain.afterBond...)...)
	for name, plugins := range p.chain.onTop {
		p.add(name, plugins...)
	}
}

// check calls CHECK of every network of the pod with its cached result, as libcni does. host-device fails CHECK of a VF
// to which the bond gave its MAC.
func (p *pod) check(when string) {
	p.t.Helper()
	for _, name := range p.order {
		_, onTop := p.chain.onTop[name]
		if p.chain.oneMAC && strings.HasPrefix(name, "net") || onTop && p.topGone {
			continue
		}
		if err := p.cni.CheckNetworkList(p.t.Context(), p.lists[name], p.runtime(name)); err != nil {
			p.t.Errorf("CHECK of %s %s: %v", name, when, err)
		}
	}
}

// del calls DEL of every network, the last one first. It calls each twice, as a runtime may, except host-device, which
// fails if the VF is no longer in the pod.
func (p *pod) del() {
	p.t.Helper()
	for i := len(p.order) - 1; i >= 0; i-- {
		name := p.order[i]
		again := []string{"first", "second"}
		if strings.HasPrefix(name, "net") {
			again = again[:1]
		}
		for _, when := range again {
			if err := p.cni.DelNetworkList(p.t.Context(), p.lists[name], p.runtime(name)); err != nil {
				p.t.Errorf("%s DEL of %s: %v", when, name, err)
			}
			if name == bondName {
				p.same(when+" DEL of the bond", p.bare)
			}
		}
	}
}

// same waits until the pod has these facts.
func (p *pod) same(when string, want facts) {
	p.t.Helper()
	deadline := time.After(testTimeout / 2)
	for {
		diff := p.facts().diff(want)
		if len(diff) == 0 {
			return
		}
		select {
		case <-deadline:
			p.t.Errorf("%s:\n  %s", when, strings.Join(diff, "\n  "))
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// wait waits for a condition.
func (p *pod) wait(what string, ok func() bool) {
	p.t.Helper()
	kit.Eventually(p.t, what, ok, func() string { return string(p.ip("-n", p.name, "-d", "addr")) })
}

// setUpComplete reads from the record whether the agent considers the pod's set-up complete.
func (p *pod) setUpComplete(stateDir string) bool {
	p.t.Helper()
	records, err := store.Open(stateDir)
	kit.Must(p.t, err)
	rec, err := records.Load(bond.Key{ContainerID: p.name, IfName: bondName})
	kit.Must(p.t, err)
	return !rec.Setup.Complete.IsZero()
}
