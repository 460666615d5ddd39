//go:build lab

package heal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"github.com/containernetworking/cni/libcni"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/store"
	"github.com/bondkeeper/bondkeeper/test/sriovstub"
)

const (
	soakPods  = 3
	soakBonds = 3 // per pod, at most
	// soakConfigs is the number of configs to choose an ADD's from.
	soakConfigs = 64
)

// podState is a pod's state in its life cycle.
type podState int

const (
	podAlive  podState = iota
	podBroken          // a verb was killed, or sriov-cni has taken a VF: the runtime will delete the pod
	podDead            // its netns is gone, without a DEL
)

// soakPod is a pod of a walk.
type soakPod struct {
	name, id string
	state    podState
	bonds    []*soakBond
	baseline snapshot
	// inSetup: no agent has found its set-up complete. Changes by other writers are learned until then.
	inSetup bool
}

// soakBond is one bond of a pod.
type soakBond struct {
	name    string
	config  []byte
	options map[string]string
	mtu     int
	ipam    bool
	routes  []string // destinations
	// sriov: sriov-cni attaches the VFs instead of host-device; requested: with a MAC, a VLAN and more.
	sriov, requested bool
	members          []*soakVF
	key              bond.Key
	mac              string
	addresses        []string // with prefix lengths
	// failover: a member was without carrier, so the kernel may have chosen another active member for good.
	failover bool
	// changed counts changes of requested settings, by setting.
	changed map[string]int
}

func leaseDir(i int) string { return fmt.Sprintf("/var/lib/cni/networks/soak%d", i) }

// soakModes are the bonding modes to choose from, the usual one most often.
var soakModes = []map[string]string{
	{"mode": "active-backup", "failOverMac": "1"}, {"mode": "active-backup", "failOverMac": "1"}, {"mode": "active-backup", "failOverMac": "1"},
	{"mode": "active-backup", "failOverMac": "1"}, {"mode": "active-backup", "failOverMac": "1", "primaryReselect": "failure"},
	{"mode": "active-backup", "failOverMac": "0"}, {"mode": "active-backup", "failOverMac": "2"},
	{"mode": "balance-rr"}, {"mode": "balance-xor", "xmitHashPolicy": "layer3+4"}, {"mode": "balance-tlb"}, {"mode": "balance-alb"},
}

// newSoakPod draws a pod's bonds, as many as there are free VFs for; nil if there are none.
func (n *soakNode) newSoakPod(i, config int) *soakPod {
	rng := rand.New(rand.NewPCG(uint64(config), 2)) //nolint:gosec // a config that can be repeated
	n.lives++
	id := fmt.Sprintf("soak%d-%04d", i, n.lives)
	p := &soakPod{name: id, id: id} // netns names are unique, as with every runtime
	for b := range 1 + rng.IntN(soakBonds) {
		slot := n.freeSlot(i)
		if slot < 0 {
			break
		}
		bd := &soakBond{
			name: fmt.Sprintf("bond%d", b), options: soakModes[rng.IntN(len(soakModes))], mtu: []int{1500, 1500, 1400}[rng.IntN(3)],
			ipam: rng.IntN(4) > 0, sriov: rng.IntN(3) > 0, requested: rng.IntN(2) == 0, changed: map[string]int{},
		}
		bd.key = bond.Key{ContainerID: p.id, IfName: bd.name}
		for j, c := range n.cards {
			vf := c.vfs[slot]
			vf.pod, vf.name = p, fmt.Sprintf("net%d", 2*b+j+1)
			bd.members = append(bd.members, vf)
		}
		bd.config = bd.json(b, rng.IntN(3) == 0)
		p.bonds = append(p.bonds, bd)
	}
	if len(p.bonds) == 0 {
		return nil
	}
	return p
}

// freeSlot is the number of a VF that is free on both cards; -1 if there is none.
func (n *soakNode) freeSlot(from int) int {
	slots := len(n.cards[0].vfs)
	for i := range slots {
		slot := (from + i) % slots
		if !slices.ContainsFunc(n.cards, func(c *soakCard) bool { return !c.usable(slot) }) {
			return slot
		}
	}
	return -1
}

// usable reports whether a device plugin would offer a VF.
func (c *soakCard) usable(slot int) bool {
	return !c.gone && !c.down && !c.vfs[slot].lost && c.vfs[slot].pod == nil
}

// json is the network config of bond number b of a pod.
func (b *soakBond) json(number int, ipv6 bool) []byte {
	c := map[string]any{
		"type": "bond", "cniVersion": "1.0.0", "name": fmt.Sprintf("soak%d", number), "linksInContainer": true, "miimon": "100", "mtu": b.mtu,
		"links": []any{map[string]any{"name": b.members[0].name}, map[string]any{"name": b.members[1].name}},
	}
	for name, value := range b.options {
		c[name] = value
	}
	if b.ipam {
		routes := []any{map[string]any{"dst": fmt.Sprintf("192.168.%d.0/24", number)}}
		if number == 0 {
			routes = append(routes, map[string]any{"dst": "0.0.0.0/0"})
		}
		ranges := []any{[]any{map[string]any{"subnet": fmt.Sprintf("10.60.%d.0/24", number), "gateway": fmt.Sprintf("10.60.%d.1", number)}}}
		if ipv6 {
			ranges = append(ranges, []any{map[string]any{"subnet": fmt.Sprintf("fd00:60:%d::/64", number)}})
			routes = append(routes, map[string]any{"dst": fmt.Sprintf("fd00:192:%d::/64", number)})
		}
		c["ipam"] = map[string]any{"type": "host-local", "ranges": ranges, "routes": routes}
		for _, r := range routes {
			b.routes = append(b.routes, strings.Replace(netip.MustParsePrefix(r.(map[string]any)["dst"].(string)).String(), "0.0.0.0/0", "default", 1))
		}
	}
	text, err := json.Marshal(c)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return text
}

func (p *soakPod) netns() string { return "/run/netns/" + p.name }

func (p *soakPod) runtimeConf(ifName string) *libcni.RuntimeConf {
	return &libcni.RuntimeConf{
		ContainerID: p.id, NetNS: p.netns(), IfName: ifName,
		Args: [][2]string{{"IgnoreUnknown", "true"}, {"K8S_POD_NAMESPACE", "demo"}, {"K8S_POD_NAME", p.name}, {"K8S_POD_INFRA_CONTAINER_ID", p.id}},
	}
}

// attachAll makes the netns and moves the VFs into it.
func (n *soakNode) attachAll(ctx context.Context, p *soakPod) error {
	if err := errors.Join(ip(ctx, "netns add %s", p.name), ip(ctx, "-n %s link set lo up", p.name)); err != nil {
		return err
	}
	for _, b := range p.bonds {
		for _, vf := range b.members {
			if vf.dirty {
				if err := n.operate(ctx, vf); err != nil {
					return err
				}
			}
			if err := n.attach(ctx, p, b, vf); err != nil {
				return fmt.Errorf("attach %s: %w", vf.pci, err)
			}
		}
	}
	return nil
}

func (n *soakNode) attach(ctx context.Context, p *soakPod, b *soakBond, vf *soakVF) error {
	if !b.sriov {
		conf, err := libcni.NetworkPluginConfFromBytes(hostDevice(vf.member))
		if err == nil {
			_, err = n.cni.AddNetwork(ctx, conf, p.runtimeConf(vf.name))
		}
		return err
	}
	config := fmt.Sprintf(`{"cniVersion": "0.3.1", "name": "sriov", "type": "sriov", "deviceID": %q}`, vf.pci)
	if b.requested {
		config = fmt.Sprintf(`{"cniVersion": "0.3.1", "name": "sriov", "type": "sriov", "deviceID": %q, "mac": %q, "vlan": 7, "vlanQoS": 3, "trust": "on", "spoofchk": "off"}`, vf.pci, vf.podMAC())
	}
	return sriovstub.Plugin{}.Add(p.sriovArgs(vf), []byte(config))
}

func (p *soakPod) sriovArgs(vf *soakVF) sriovstub.Args {
	return sriovstub.Args{ContainerID: p.id, Netns: p.netns(), IfName: vf.name}
}

// podMAC is the MAC that sriov-cni is configured with.
func (vf *soakVF) podMAC() string { return fmt.Sprintf("02:00:00:02:%02x:%02x", vf.card, vf.number) }

// wantMAC is the member's own MAC in the pod.
func (b *soakBond) wantMAC(vf *soakVF) string {
	if b.sriov && b.requested {
		return vf.podMAC()
	}
	return vf.settings.mac
}

// add makes a pod with all its bonds and stores its state as the baseline.
func (n *soakNode) add(ctx context.Context, p *soakPod) error {
	if err := n.attachAll(ctx, p); err != nil {
		return err
	}
	for _, b := range p.bonds {
		if err := n.addBond(ctx, p, b); err != nil {
			return fmt.Errorf("ADD of %s: %w", b.key, err)
		}
		n.count.adds++
	}
	if err := n.takeBaseline(ctx, p); err != nil {
		return err
	}
	p.inSetup = true
	if !n.agent.runs() {
		return nil
	}
	return n.setUp(ctx, p)
}

func (n *soakNode) addBond(ctx context.Context, p *soakPod, b *soakBond) error {
	conf, err := libcni.NetworkPluginConfFromBytes(b.config)
	if err != nil {
		return err
	}
	output, err := n.cni.AddNetwork(ctx, conf, p.runtimeConf(b.name))
	if err != nil {
		return err
	}
	result, err := current.NewResultFromResult(output)
	if err != nil {
		return err
	}
	b.mac = result.Interfaces[0].Mac
	for _, a := range result.IPs {
		b.addresses = append(b.addresses, a.Address.String())
	}
	return nil
}

// takeBaseline waits until a new pod is as configured, and stores everything observable about it.
func (n *soakNode) takeBaseline(ctx context.Context, p *soakPod) error {
	var s snapshot
	var found []string
	err := n.await(ctx, "pod "+p.name+" as configured", func() (bool, error) {
		var err error
		if s, err = n.snapshot(ctx, p); err != nil {
			return false, err
		}
		want, have := p.want(), snapshot{}
		for name := range want {
			have[name] = s[name]
		}
		for _, b := range p.bonds {
			for _, dst := range b.routes {
				if !strings.Contains(s["route "+dst+" table main"], "dev "+b.name) {
					have["route "+dst] = "none through " + b.name
				}
			}
		}
		found = have.diff(want)
		return len(found) == 0, nil
	})
	if err != nil {
		return fmt.Errorf("%w:\n  %s", err, strings.Join(found, "\n  "))
	}
	p.baseline = s
	return nil
}

// want is what config and IPAM specify for a pod.
func (p *soakPod) want() snapshot {
	want := snapshot{}
	for _, b := range p.bonds {
		want[b.name+" mac"], want[b.name+" mtu"], want[b.name+" up"] = b.mac, fmt.Sprint(b.mtu), "true"
		want[b.name+" option mode"] = b.options["mode"]
		for _, a := range b.addresses {
			want[b.name+" address "+a] = "global"
		}
		for _, vf := range b.members {
			for what, value := range map[string]string{"MII status": "up", "carrier": "true", "master": b.name, "pci": vf.pci} {
				want[vf.name+" "+what] = value
			}
			if b.options["failOverMac"] == "1" {
				want[vf.name+" mac"] = b.wantMAC(vf)
			}
		}
	}
	return want
}

// snapshot reads a pod's current state.
func (n *soakNode) snapshot(ctx context.Context, p *soakPod) (snapshot, error) {
	s := snapshot{}
	errs := []error{s.network(ctx, p.name)}
	var members []member
	for _, b := range p.bonds {
		errs = append(errs, s.bonding(p.netns(), b.name), s.sysctls(p.netns(), b.name, b.members[0].name, b.members[1].name))
		for _, vf := range b.members {
			members = append(members, vf.member)
		}
	}
	errs = append(errs, s.pfs(ctx, []card{n.cards[0].card, n.cards[1].card}, members))
	for _, b := range p.bonds {
		b.mergeMACs(s)
	}
	return s, errors.Join(errs...)
}

// swapsMACs reports whether members swap their MACs on a failover.
func (b *soakBond) swapsMACs() bool {
	mode := b.options["mode"]
	return mode == "balance-tlb" || mode == "balance-alb" || b.options["failOverMac"] == "2"
}

// pfAddress is the fact with a VF's MAC as its PF shows it.
const pfAddress = "on its PF: address"

var swappedMACs = []string{"mac", pfAddress}

// mergeMACs makes MACs comparable when members may swap them.
func (b *soakBond) mergeMACs(s snapshot) {
	if !b.swapsMACs() {
		return
	}
	for _, fact := range swappedMACs {
		var macs []string
		for _, vf := range b.members {
			macs = append(macs, s[vf.name+" "+fact])
			delete(s, vf.name+" "+fact)
		}
		slices.Sort(macs)
		s[b.name+" members "+fact] = strings.Join(macs, " ")
	}
}

// setUp waits until the agent has found the set-up of a pod complete: before that it learns from a fault instead of
// repairing it.
func (n *soakNode) setUp(ctx context.Context, p *soakPod) (err error) {
	records, err := store.Open(store.DefaultDir)
	if err != nil {
		return err
	}
	defer func() { p.inSetup = p.inSetup && err != nil }()
	return n.await(ctx, "the end of the set-up of pod "+p.name, func() (bool, error) {
		for _, b := range p.bonds {
			if rec, err := records.Load(b.key); err != nil || rec.InSetup() {
				return false, err
			}
		}
		return true, nil
	})
}
