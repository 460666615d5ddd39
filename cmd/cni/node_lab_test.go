//go:build lab

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/skel"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
	"github.com/bondkeeper/bondkeeper/pkg/ipam"
	"github.com/bondkeeper/bondkeeper/pkg/link"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
	"github.com/bondkeeper/bondkeeper/pkg/link/sriovcni"
	"github.com/bondkeeper/bondkeeper/pkg/netns"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// TestScenariosOnVFs runs the scenarios of pkg/cni on real VFs.
func TestScenariosOnVFs(t *testing.T) { cnitest.RunScenarios(t, openVFs) }

// labNode is a cnitest.Node with the real kernel.
type labNode struct {
	*link.Kernel
	kit.Links
	f       *cnitest.Fixture
	model   topology.Model
	cards   []topology.Card
	pods    []string
	unbound map[bond.PCIAddress]bool
	stderr  kit.Output
}

// openVFs sets the PFs up, and resets two VFs of each card to their state at power-on.
func openVFs(f *cnitest.Fixture) cnitest.Node {
	guest, err := topology.Load()
	f.Must(err)
	kernel, err := link.New(link.Options{})
	f.Must(err)
	n := &labNode{Kernel: kernel, f: f, model: guest.Model, cards: guest.Cards[:2], unbound: map[bond.PCIAddress]bool{}}
	for card, c := range n.cards {
		f.Must(n.SetUp(linktest.Host, n.PF(card)))
		for number, vf := range c.VFs[:2] {
			n.reset(vf, fmt.Sprintf("bkvf%d-%d", card, number))
		}
	}
	f.Cleanup(func() {
		for pci := range n.unbound {
			f.Must(n.BindVF(pci))
		}
	})
	return n
}

// reset gives a VF in the host a name and its MAC. After a reset of its PF a VF may be refused its MAC until it is set up
// and down, which resets it (igbvf_down of Linux 6.1).
func (n *labNode) reset(vf topology.Function, name string) {
	n.f.Helper()
	set := func() error {
		now := n.HostName(bond.PCIAddress(vf.PCI))
		return n.Set(linktest.Host, now, "down", "name", name, "address", vf.MAC, "mtu", "1500")
	}
	if set() == nil {
		return
	}
	kit.Eventually(n.f, name+" has its MAC", func() bool { // the fixture has no kernel to show links of yet
		now := n.HostName(bond.PCIAddress(vf.PCI))
		_ = errors.Join(n.SetUp(linktest.Host, now), n.SetDown(linktest.Host, now))
		return set() == nil
	})
}

func (n *labNode) VF(card, number int) bond.PCIAddress {
	return bond.PCIAddress(n.cards[card].VFs[number].PCI)
}
func (n *labNode) PFAddress(card int) string { return n.cards[card].PF.PCI }
func (n *labNode) PF(card int) string        { return n.HostName(bond.PCIAddress(n.PFAddress(card))) }
func (n *labNode) Slow() bool                { return true }
func (n *labNode) PFSettings() bool          { return n.model.VFSettings }
func (n *labNode) IPAM() reconcile.IPAM      { return &ipam.Client{} }
func (n *labNode) HostNetns() string         { return fmt.Sprintf("/proc/%d/ns/net", os.Getpid()) }
func (n *labNode) Logged() string            { return n.stderr.String() }
func (n *labNode) PluginDir() string         { return binDir }
func (n *labNode) LinkKinds() []string       { return []string{"dummy", "veth", "macvlan", "vlan"} }

func (n *labNode) HostName(pci bond.PCIAddress) string {
	n.f.Helper()
	name, err := kit.Netdev(context.WithoutCancel(n.f.Context()), pci) // also in a cleanup
	n.f.Must(err)
	return name
}

func (n *labNode) AddPod(path string) bond.Sandbox {
	n.f.Helper()
	n.f.Must(kit.AddNetns(path))
	if !slices.Contains(n.pods, path) {
		n.pods = append(n.pods, path)
	}
	n.f.Cleanup(func() { _ = kit.DeleteNetns(path) }) // it may be gone already
	sandbox, err := netns.SandboxAt(path)
	n.f.Must(err)
	return sandbox
}

func (n *labNode) DeletePod(path string) error {
	n.pods = slices.DeleteFunc(n.pods, func(p string) bool { return p == path })
	return kit.DeleteNetns(path)
}

func (n *labNode) AddVirtual(path, name string) (bond.Link, error) {
	peer := "p-" + name
	_, err := n.IP(path, "link", "add", name, "type", "veth", "peer", "name", peer)
	if err == nil {
		err = n.SetUp(path, peer)
	}
	l, _ := n.Link(path, name)
	return l, err
}

func (n *labNode) AddTwin(path, name string, index int) error {
	_, err := n.IP(path, "link", "add", name, "index", fmt.Sprint(index), "type", "veth", "peer", "name", fmt.Sprintf("q-%s%d", name, index))
	return err
}

func (n *labNode) AddHostLink(name, kind string) {
	n.f.Helper()
	const lower = "bklower"
	if _, found := n.Link(linktest.Host, lower); !found {
		_, err := n.AddImpostor(linktest.Host, lower)
		n.f.Must(err, n.SetUp(linktest.Host, lower))
		n.f.Cleanup(func() { _ = n.DeleteLink(linktest.Host, lower) })
	}
	args := map[string]string{
		"dummy": "type dummy", "veth": "type veth peer name p-" + name, "macvlan": "link " + lower + " type macvlan mode bridge",
		"vlan": "link " + lower + " type vlan id " + strings.TrimPrefix(name, "bkm"),
	}[kind]
	_, err := n.IP(linktest.Host, append([]string{"link", "add", name}, strings.Fields(args)...)...)
	n.f.Must(err)
	n.f.Cleanup(func() { _ = n.DeleteLink(linktest.Host, name) })
}

func (n *labNode) UnbindVF(pci bond.PCIAddress) error {
	n.unbound[pci] = true
	return n.Links.UnbindVF(pci)
}

func (n *labNode) BindVF(pci bond.PCIAddress) error {
	delete(n.unbound, pci)
	err := n.Links.BindVF(pci)
	n.HostName(pci)
	return err
}

// SetVF removes a MAC at the end of the test.
func (n *labNode) SetVF(pci bond.PCIAddress, s bond.VFSettings) error {
	if s.MAC != nil {
		n.f.Cleanup(func() { n.f.Must(n.Links.SetVF(pci, bond.VFSettings{MAC: new(bond.MAC("00:00:00:00:00:00"))})) })
	}
	return n.Links.SetVF(pci, s)
}

// Occupy moves the second VF of the first card to its own netns, with this address.
func (n *labNode) Occupy(a netip.Addr) {
	n.f.Helper()
	peer := n.f.EmptyPod("peer")
	n.f.Must(n.MoveToNetns(linktest.Host, n.HostName(n.VF(0, 1)), peer, "peer0"),
		n.AddAddresses(peer, "peer0", []netip.Prefix{netip.PrefixFrom(a, 64)}), n.SetUp(peer, "peer0"))
	n.f.Eventually("carrier of peer0", func() bool { return n.f.LinkAt(peer, "peer0").Carrier })
}

// CacheVF expects net1 and net2 to be VFs of the first and the second card.
func (n *labNode) CacheVF(path, name string) {
	n.f.Helper()
	card := map[string]int{"net1": 0, "net2": 1}[name]
	cacheVF(n.f, "c1-"+name, map[string]any{"deviceID": n.VF(card, 0), "MAC": "", "OrigVfState": map[string]any{"EffectiveMAC": n.f.LinkAt(path, name).MAC}})
}

func (n *labNode) SetMemberOptions(path, name string, o bond.MemberOptions) error {
	args := []string{"type", "bond_slave"}
	if o.QueueID != nil {
		args = append(args, "queue_id", fmt.Sprint(*o.QueueID))
	}
	if o.Prio != nil {
		args = append(args, "prio", fmt.Sprint(*o.Prio))
	}
	return n.Set(path, name, args...)
}

// AwaitSearch waits a moment: nothing shows that an ADD waits for a link.
func (n *labNode) AwaitSearch(added <-chan error) {
	n.f.Helper()
	select {
	case err := <-added:
		n.f.Fatalf("ADD did not wait: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
}

// read decodes the output of `ip -d -j`.
func (n *labNode) read(path string, into any, args ...string) {
	n.f.Helper()
	out, err := n.IP(path, append([]string{"-d", "-j"}, args...)...)
	n.f.Must(err, json.Unmarshal(out, into))
}

type linkInfo struct {
	Info struct {
		Data  struct{ Mode string } `json:"info_data"`
		Slave struct {
			QueueID int `json:"queue_id"`
			Prio    int
		} `json:"info_slave_data"`
	} `json:"linkinfo"`
}

func (n *labNode) Mode(path, name string) string {
	var l [1]linkInfo
	n.read(path, &l, "link", "show", "dev", name)
	return l[0].Info.Data.Mode
}

func (n *labNode) MemberSettings(path, name string) (queueID, prio int) {
	var l [1]linkInfo
	n.read(path, &l, "link", "show", "dev", name)
	return l[0].Info.Slave.QueueID, l[0].Info.Slave.Prio
}

func (n *labNode) Active(path, name string) string {
	n.f.Helper()
	text, err := kit.Run(path, "cat", "/proc/net/bonding/"+name)
	n.f.Must(err)
	_, active, _ := strings.Cut(string(text), "Currently Active Slave: ")
	active, _, _ = strings.Cut(active, "\n")
	return strings.TrimPrefix(active, "None")
}

func (n *labNode) Addresses(path, name string) (all []string) {
	var l [1]linkJSON
	n.read(path, &l, "addr", "show", "dev", name)
	for _, a := range l[0].AddrInfo {
		if a.Scope == "global" && !a.DADFailed {
			all = append(all, fmt.Sprintf("%s/%d", a.Local, a.PrefixLen))
		}
	}
	slices.Sort(all)
	return all
}

func (n *labNode) Routes(path, name string) (all []string) {
	for _, family := range []string{"-4", "-6"} {
		var list []routeJSON
		n.read(path, &list, family, "route", "show", "table", "all", "dev", name)
		for _, r := range list {
			if r.Protocol != "kernel" && r.Table != "local" {
				all = append(all, cnitest.RouteText(r.route(family)))
			}
		}
	}
	slices.Sort(all)
	return all
}

// LinkState leaves out indexes and carrier: a VF that returns may have another index, and its carrier some time later.
func (n *labNode) LinkState() string {
	n.f.Helper()
	var b strings.Builder
	for _, path := range append([]string{linktest.Host}, n.pods...) {
		links, err := n.All(path)
		n.f.Must(err)
		name := map[int]string{}
		for _, l := range links {
			name[l.Index] = l.Name
		}
		slices.SortFunc(links, func(a, b bond.Link) int { return strings.Compare(a.Name, b.Name) })
		fmt.Fprintf(&b, "netns %s\n", filepath.Base(path))
		for _, l := range links {
			fmt.Fprintf(&b, "  %s %s mac %s mtu %d up %t master %s\n", l.Name, l.Kind, l.MAC, l.MTU, l.Up, name[l.Master])
		}
	}
	return b.String()
}

func (n *labNode) Call(verb string, args *skel.CmdArgs) ([]byte, error) {
	return callHere(verb, &n.stderr, args)
}

// CallProcess runs the plugin's binary.
func (n *labNode) CallProcess(verb string, args *skel.CmdArgs) ([]byte, error) {
	out, logged, failed := invoke(n.f, map[string]string{
		"CNI_COMMAND": verb, "CNI_CONTAINERID": args.ContainerID, "CNI_NETNS": args.Netns, "CNI_IFNAME": args.IfName, "CNI_PATH": args.Path, "CNI_ARGS": args.Args,
	}, string(args.StdinData))
	_, _ = n.stderr.Write([]byte(logged))
	if failed != nil {
		return nil, failed
	}
	return []byte(out), nil
}

// routeJSON is a route in the output of `ip -j route`.
type routeJSON struct {
	Dst, Gateway, Protocol, Table string
	Metric                        int
	Metrics                       []struct{ MTU, AdvMSS int }
}

func (r *routeJSON) route(family string) bond.Route {
	dst, bits := r.Dst, map[string]string{"-4": "/32", "-6": "/128"}[family]
	if dst == "default" {
		dst = map[string]string{"-4": "0.0.0.0/0", "-6": "::/0"}[family]
	} else if !strings.Contains(dst, "/") {
		dst += bits
	}
	route := bond.Route{Dst: netip.MustParsePrefix(dst), Priority: r.Metric}
	if r.Gateway != "" {
		route.Gateway = netip.MustParseAddr(r.Gateway)
	}
	if table, err := strconv.Atoi(r.Table); err == nil {
		route.Table = &table
	}
	for _, m := range r.Metrics {
		route.MTU, route.AdvMSS = max(route.MTU, m.MTU), max(route.AdvMSS, m.AdvMSS)
	}
	return route
}

// cacheVF writes sriov-cni's cache file of a VF that it attached to a pod.
func cacheVF(t testing.TB, name string, fields map[string]any) {
	t.Helper()
	text, err := json.Marshal(fields)
	path := filepath.Join(sriovcni.DefaultDir, name)
	kit.Must(t, err, os.MkdirAll(sriovcni.DefaultDir+"/pci/vf_lock", 0o700), os.WriteFile(path, text, 0o600))
	t.Cleanup(func() { _ = os.Remove(path) })
}
