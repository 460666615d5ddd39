//go:build lab

package heal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/store"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
	"github.com/bondkeeper/bondkeeper/test/sriovstub"
	"github.com/bondkeeper/bondkeeper/test/walk"
)

// soakOp is an operation of a walk. do describes what it did; empty if it was not possible.
type soakOp struct {
	walk.Op
	do func(n *soakNode, ctx context.Context, args []int) (string, error)
}

// Arguments of an operation on a pod, a bond and a member.
var (
	onPod    = []int{soakPods}
	onBond   = []int{soakPods, soakBonds}
	onMember = []int{soakPods, soakBonds, 2}
	onCard   = []int{2}
)

// soakSteps are all operations. For killed plugins, a number selects the change before which they are killed.
func soakSteps() []soakOp {
	return []soakOp{
		{walk.Op{Name: "rest", Weight: 10}, (*soakNode).stepRest},
		{walk.Op{Name: "add", Weight: 16, Args: []int{soakPods, soakConfigs}}, (*soakNode).stepAdd},
		{walk.Op{Name: "del", Weight: 3, Args: []int{soakPods, 2}}, (*soakNode).stepDel},
		{walk.Op{Name: "add-killed", Weight: 4, Args: []int{soakPods, soakConfigs, maxAddChanges}}, (*soakNode).stepAddKilled},
		{walk.Op{Name: "del-killed", Weight: 3, Args: []int{soakPods, soakBonds, maxDelChanges}}, (*soakNode).stepDelKilled},
		{walk.Op{Name: "kill-pod", Weight: 1, Args: onPod}, (*soakNode).stepKillPod},
		{walk.Op{Name: "kill-agent", Weight: 2}, (*soakNode).stepKillAgent},
		{walk.Op{Name: "stop-agent", Weight: 1}, (*soakNode).stepStopAgent},
		{walk.Op{Name: "start-agent", Weight: 3}, (*soakNode).stepStartAgent},
		{walk.Op{Name: "unbind", Weight: 6, Args: onMember}, (*soakNode).stepUnbind},
		{walk.Op{Name: "bind", Weight: 4, Args: onMember}, (*soakNode).stepBind},
		{walk.Op{Name: "reset", Weight: 1, Args: onMember}, (*soakNode).stepReset},
		{walk.Op{Name: "pf-down", Weight: 1, Args: onCard}, (*soakNode).stepPFDown},
		{walk.Op{Name: "pf-up", Weight: 2, Args: onCard}, (*soakNode).stepPFUp},
		{walk.Op{Name: "no-vfs", Weight: 1, Args: onCard}, (*soakNode).stepNoVFs},
		{walk.Op{Name: "all-vfs", Weight: 2, Args: onCard}, (*soakNode).stepAllVFs},
		{walk.Op{Name: "sriov-del", Weight: 1, Args: onMember}, (*soakNode).stepSriovDel},
		{walk.Op{Name: "to-host", Weight: 3, Args: onMember}, memberCommand("link set %s netns 1", "")},
		{walk.Op{Name: "release", Weight: 3, Args: onMember}, memberCommand("link set %s nomaster", "")},
		{walk.Op{Name: "rename", Weight: 2, Args: onMember}, memberCommand("link set %[1]s name x%[1]s", "")},
		{walk.Op{Name: "member-down", Weight: 2, Args: onMember}, memberCommand("link set %s down", "")},
		{walk.Op{Name: "member-mtu", Weight: 1, Args: onMember}, memberCommand("link set %s mtu 1300", "")},
		{walk.Op{Name: "swap", Weight: 1, Args: onBond}, (*soakNode).stepSwap},
		{walk.Op{Name: "impostor", Weight: 1, Args: onMember}, (*soakNode).stepImpostor},
		{walk.Op{Name: "bond-del", Weight: 3, Args: onBond}, bondCommand("link del %s", "")},
		{walk.Op{Name: "bond-down", Weight: 2, Args: onBond}, bondCommand("link set %s down", "")},
		{walk.Op{Name: "bond-rename", Weight: 1, Args: onBond}, (*soakNode).stepBondRename},
		{walk.Op{Name: "bond-mtu", Weight: 2, Args: onBond}, bondCommand("link set %s mtu 1300", "MTU")},
		{walk.Op{Name: "flush", Weight: 2, Args: onBond}, bondCommand("address flush dev %s scope global", "network")},
		{walk.Op{Name: "no-route", Weight: 2, Args: onBond}, bondCommand("route flush dev %s proto boot", "network")},
		{walk.Op{Name: "miimon", Weight: 2, Args: onBond}, bondCommand("link set %s type bond miimon 250", "")},
	}
}

func soakOps() (ops []walk.Op) {
	for _, s := range soakSteps() {
		ops = append(ops, s.Op)
	}
	return ops
}

// bond is the bond that a step selects, in a pod that must stay complete.
func (n *soakNode) bond(args []int) (*soakPod, *soakBond) {
	p := n.pods[args[0]]
	if p == nil || p.state != podAlive {
		return nil, nil
	}
	return p, p.bonds[args[1]%len(p.bonds)]
}

// maxChanges is how often a walk changes a requested setting of a bond: the agent adopts the value of a writer that
// changes it back three times within a minute.
const maxChanges = 2

// command runs ip(8) in a pod. setting names the requested setting that the command changes; empty if it changes none.
func (n *soakNode) command(ctx context.Context, p *soakPod, b *soakBond, setting, line string) (string, error) {
	if setting != "" {
		if p.inSetup || b.changed[setting] == maxChanges {
			return "", nil
		}
		b.changed[setting]++
	}
	if err := ip(ctx, "-n %s %s", p.name, line); err != nil {
		return "", ctx.Err() // what an earlier step has changed cannot be changed now
	}
	return fmt.Sprintf("%s: ip %s", p.name, line), nil
}

func bondCommand(format, setting string) func(*soakNode, context.Context, []int) (string, error) {
	return func(n *soakNode, ctx context.Context, args []int) (string, error) {
		p, b := n.bond(args)
		if p == nil {
			return "", nil
		}
		return n.command(ctx, p, b, setting, fmt.Sprintf(format, b.name))
	}
}

// stepBondRename renames a bond whose ifindex is recorded. An agent that was killed right after it created the bond has
// recorded none, so the next one could recognise it only by its name.
func (n *soakNode) stepBondRename(ctx context.Context, args []int) (string, error) {
	p, b := n.bond(args)
	if p == nil {
		return "", nil
	}
	index, err := (&Pod{Name: p.name}).ifindex(ctx, b.name)
	if err != nil {
		return "", ctx.Err() // it was deleted or renamed
	}
	records, err := store.Open(store.DefaultDir)
	if err != nil {
		return "", err
	}
	if rec, err := records.Load(b.key); err != nil || rec.BondIndex != index {
		return "", err
	}
	return n.command(ctx, p, b, "", fmt.Sprintf("link set %[1]s name x%[1]s", b.name))
}

func memberCommand(format, setting string) func(*soakNode, context.Context, []int) (string, error) {
	return func(n *soakNode, ctx context.Context, args []int) (string, error) {
		p, b := n.bond(args)
		if p == nil {
			return "", nil
		}
		return n.command(ctx, p, b, setting, fmt.Sprintf(format, b.members[args[2]].name))
	}
}

// stepRest rests if anything has happened since the last rest.
func (n *soakNode) stepRest(ctx context.Context, _ []int) (string, error) {
	if n.rested {
		return "", nil
	}
	return fmt.Sprintf("rest with %d pods", len(n.alive())), n.rest(ctx)
}

func (n *soakNode) stepAdd(ctx context.Context, args []int) (string, error) {
	if n.pods[args[0]] != nil {
		return "", nil
	}
	p := n.newSoakPod(args[0], args[1])
	if p == nil {
		return "", nil
	}
	n.pods[args[0]] = p
	text := "ADD of " + p.name + ":"
	for _, b := range p.bonds {
		text += fmt.Sprintf(" %s over %s and %s: %s;", b.name, b.members[0].pci, b.members[1].pci, b.config)
	}
	return text, n.add(ctx, p)
}

func (n *soakNode) stepDel(ctx context.Context, args []int) (string, error) {
	p := n.pods[args[0]]
	if p == nil {
		return "", nil
	}
	text := "DEL of " + p.name
	if args[1] == 1 { // once more, before the remaining DELs
		text += ", of the bonds twice"
		for _, b := range p.bonds {
			// With an impostor, DEL cannot give a member its name back, by which its plugin finds it.
			if err := errors.Join(n.removeImpostors(ctx, p, b), n.delBond(ctx, p, b)); err != nil {
				return text, err
			}
		}
	}
	return text, n.del(ctx, args[0])
}

func (n *soakNode) stepKillPod(ctx context.Context, args []int) (string, error) {
	p := n.pods[args[0]]
	if p == nil || p.state == podDead {
		return "", nil
	}
	return "the netns of " + p.name + " is deleted without a DEL", n.kill(ctx, p)
}

func (n *soakNode) stepKillAgent(ctx context.Context, _ []int) (string, error) {
	if !n.agent.runs() {
		return "", nil
	}
	n.count.kills++
	n.sweep = true
	return "the agent is killed", n.stopAgent(ctx, unix.SIGKILL)
}

func (n *soakNode) stepStopAgent(ctx context.Context, _ []int) (string, error) {
	if !n.agent.runs() {
		return "", nil
	}
	return "the agent is stopped", n.stopAgent(ctx, unix.SIGTERM)
}

func (n *soakNode) stepStartAgent(ctx context.Context, _ []int) (string, error) {
	if n.agent.runs() {
		return "", nil
	}
	return "the agent is started", n.startAgent(ctx)
}

// present returns the pod, the bond and the VF of a member; nil if the VF has no driver, or its card is gone.
func (n *soakNode) present(args []int) (*soakPod, *soakBond, *soakVF) {
	p, b := n.bond(args)
	if p == nil {
		return nil, nil, nil
	}
	vf := b.members[args[2]]
	if vf.lost || n.cards[vf.card].gone {
		return nil, nil, nil
	}
	return p, b, vf
}

func (n *soakNode) stepUnbind(_ context.Context, args []int) (string, error) {
	p, _, vf := n.present(args)
	if p == nil {
		return "", nil
	}
	vf.lost = true
	return fmt.Sprintf("%s: the driver lets go of %s (%s)", p.name, vf.name, vf.pci), unbindVF(vf.pci)
}

func (n *soakNode) stepBind(_ context.Context, args []int) (string, error) {
	p, b := n.bond(args)
	if p == nil || !b.members[args[2]].lost || n.cards[b.members[args[2]].card].gone {
		return "", nil
	}
	vf := b.members[args[2]]
	return fmt.Sprintf("%s: the driver takes %s (%s)", p.name, vf.name, vf.pci), n.bind(vf)
}

func (n *soakNode) bind(vf *soakVF) error {
	vf.lost = false
	vf.dirty = vf.dirty || vf.pod == nil
	return bindVF(vf.pci)
}

// isUp reports whether the VF is in the pod and set up, whatever its name.
func (p *soakPod) isUp(ctx context.Context, vf *soakVF) bool {
	now := snapshot{}
	if err := now.network(ctx, p.name); err != nil {
		return false
	}
	for fact, value := range now {
		if link, is := strings.CutSuffix(fact, " pci"); is && value == vf.pci {
			return now[link+" up"] == "true"
		}
	}
	return false
}

func (n *soakNode) stepReset(ctx context.Context, args []int) (string, error) {
	p, b, vf := n.present(args)
	if p == nil {
		return "", nil
	}
	if !p.isUp(ctx, vf) {
		return "", nil // igbvf would hang with RTNL held (docs/kernel.md)
	}
	b.failover = true
	return fmt.Sprintf("%s: function-level reset of %s (%s)", p.name, vf.name, vf.pci), write(filepath.Join(pciDevices, vf.pci, "reset"), "1")
}

func (n *soakNode) stepPFDown(ctx context.Context, args []int) (string, error) {
	c := n.cards[args[0]]
	if c.down {
		return "", nil
	}
	c.down = true
	for _, p := range n.alive() {
		for _, b := range p.bonds {
			b.failover = true
		}
	}
	return "PF " + c.PF.PCI + " is set down", c.setPF(ctx, "down")
}

func (n *soakNode) stepPFUp(ctx context.Context, args []int) (string, error) {
	if !n.cards[args[0]].down {
		return "", nil
	}
	return "PF " + n.cards[args[0]].PF.PCI + " is set up", n.setPFUp(ctx, args[0])
}

func (n *soakNode) setPFUp(ctx context.Context, i int) error {
	if !n.cards[i].down {
		return nil
	}
	n.cards[i].down = false
	return n.cards[i].setPF(ctx, "up")
}

func (n *soakNode) stepNoVFs(_ context.Context, args []int) (string, error) {
	c := n.cards[args[0]]
	if c.gone {
		return "", nil
	}
	c.gone = true
	return "sriov_numvfs of " + c.PF.PCI + " becomes 0", c.setNumVFs(0)
}

func (n *soakNode) stepAllVFs(ctx context.Context, args []int) (string, error) {
	if !n.cards[args[0]].gone {
		return "", nil
	}
	return "sriov_numvfs of " + n.cards[args[0]].PF.PCI + " is as before", n.makeVFs(ctx, args[0])
}

// makeVFs recreates the VFs of a card, with their drivers. Settings that the operator had made, and that sriov-cni was
// not asked for, are the operator's to restore.
func (n *soakNode) makeVFs(ctx context.Context, i int) error {
	c := n.cards[i]
	if !c.gone {
		return nil
	}
	c.gone = false
	if err := c.setNumVFs(len(c.VFs)); err != nil {
		return err
	}
	pf, err := c.pf()
	if err != nil {
		return err
	}
	for _, vf := range c.vfs {
		vf.lost = false
		vf.dirty, vf.reset = vf.dirty || vf.pod == nil, vf.pod != nil
		if b := vf.bond(); b != nil && b.sriov && !b.requested {
			err = errors.Join(err, ip(ctx, "link set %s vf %d trust %s spoofchk %s", pf, vf.number, vf.settings.trust, vf.settings.spoofchk))
		}
	}
	return err
}

// bond is the bond that a VF belongs to.
func (vf *soakVF) bond() *soakBond {
	if vf.pod == nil {
		return nil
	}
	at := slices.IndexFunc(vf.pod.bonds, func(b *soakBond) bool { return slices.Contains(b.members, vf) })
	return vf.pod.bonds[at]
}

// stepSriovDel calls sriov-cni's DEL for a VF while the bond's record exists. The pod will then be deleted.
func (n *soakNode) stepSriovDel(_ context.Context, args []int) (string, error) {
	p, b := n.bond(args)
	if p == nil || !b.sriov {
		return "", nil
	}
	vf := b.members[args[2]]
	p.state = podBroken
	err := sriovstub.Plugin{}.Del(p.sriovArgs(vf))
	// If the bond gave the VF its MAC, the driver restores the old one when the VF leaves, unnoticed by sriov-cni.
	// sriov-cni finds the VF by its name in the pod. After a swap that is the other VF, and this one is not returned.
	_, inPod := topology.Netdev(vf.pci)
	vf.dirty = err != nil || inPod != nil || vf.lost || vf.reset || b.options["failOverMac"] != "1"
	return fmt.Sprintf("%s: DEL of sriov-cni for %s (%s): %v", p.name, vf.name, vf.pci, err), nil
}

func (n *soakNode) stepSwap(ctx context.Context, args []int) (string, error) {
	p, b := n.bond(args)
	if p == nil {
		return "", nil
	}
	one, two := b.members[0].name, b.members[1].name
	lines := fmt.Sprintf("link set %s name swap\nlink set %s name %s\nlink set swap name %s\n", one, two, one, two)
	if err := ipBatch(ctx, p.name, lines); err != nil {
		return "", ctx.Err()
	}
	return fmt.Sprintf("%s: %s and %s swap names", p.name, one, two), nil
}

// stepImpostor makes a link with the name of a missing member.
func (n *soakNode) stepImpostor(ctx context.Context, args []int) (string, error) {
	p, b := n.bond(args)
	if p == nil {
		return "", nil
	}
	return n.command(ctx, p, b, "", fmt.Sprintf("link add %s type dummy", b.members[args[2]].name))
}

// removeImpostors removes the dummies with members' names.
func (n *soakNode) removeImpostors(ctx context.Context, p *soakPod, b *soakBond) error {
	if p.state == podDead {
		return nil
	}
	now := snapshot{}
	if err := now.network(ctx, p.name); err != nil {
		return err
	}
	var errs []error
	for _, vf := range b.members {
		if now[vf.name+" kind"] == "dummy" {
			errs = append(errs, ip(ctx, "-n %s link del %s", p.name, vf.name))
		}
	}
	return errors.Join(errs...)
}
