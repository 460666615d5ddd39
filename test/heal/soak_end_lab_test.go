//go:build lab

package heal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/containernetworking/cni/libcni"

	"github.com/bondkeeper/bondkeeper/test/lab/topology"
	"github.com/bondkeeper/bondkeeper/test/sriovstub"
)

// maxDELs is the number of DEL calls of which one must succeed.
const maxDELs = 3

// del ends pod number i as Multus and the runtime do: bonds, VFs, netns. Every DEL must succeed, with the third call at
// the latest.
func (n *soakNode) del(ctx context.Context, i int) error {
	p := n.pods[i]
	for _, b := range slices.Backward(p.bonds) {
		// A VF's plugin would take an impostor for its VF.
		if err := errors.Join(n.removeImpostors(ctx, p, b), n.delBond(ctx, p, b)); err != nil {
			return err
		}
	}
	for _, b := range slices.Backward(p.bonds) {
		for _, vf := range b.members {
			if err := n.detach(ctx, p, b, vf); err != nil {
				return err
			}
		}
	}
	if p.state != podDead {
		if err := n.endNetns(ctx, p); err != nil {
			return err
		}
	}
	for _, b := range p.bonds {
		for _, vf := range b.members {
			vf.pod = nil
		}
	}
	n.pods[i] = nil
	return nil
}

func (n *soakNode) delBond(ctx context.Context, p *soakPod, b *soakBond) error {
	conf, err := libcni.NetworkPluginConfFromBytes(b.config)
	if err != nil {
		return err
	}
	n.count.dels++
	for attempt := 1; ; attempt++ {
		err = n.cni.DelNetwork(ctx, conf, p.runtimeConf(b.name))
		if err == nil {
			break
		}
		n.progress(fmt.Sprintf("   DEL of %s, attempt %d: %v", b.key, attempt, err))
		n.count.retries++
		if attempt == maxDELs {
			return fmt.Errorf("DEL of %s failed %d times: %w", b.key, attempt, err)
		}
	}
	if p.state == podDead {
		return nil
	}
	now := snapshot{}
	if err = now.network(ctx, p.name); err != nil {
		return err
	}
	if now[b.name+" kind"] != "" {
		return fmt.Errorf("%s is there after its DEL", b.key)
	}
	return nil
}

// detach has a VF's own plugin take it out of the pod. It may fail if the VF is not there; the operator then restores
// it.
func (n *soakNode) detach(ctx context.Context, p *soakPod, b *soakBond, vf *soakVF) error {
	var err error
	if b.sriov {
		err = sriovstub.Plugin{}.Del(p.sriovArgs(vf))
	} else {
		var conf *libcni.NetworkConfig
		if conf, err = libcni.NetworkPluginConfFromBytes(hostDevice(vf.member)); err == nil {
			err = n.cni.DelNetwork(ctx, conf, p.runtimeConf(vf.name))
		}
	}
	// A PF that is down does not learn that the VF has its own MAC again.
	if vf.lost || n.cards[vf.card].gone || p.state == podDead || n.cards[vf.card].down && b.options["failOverMac"] != "1" {
		vf.dirty = true
	}
	if err == nil || vf.dirty || p.state == podBroken {
		vf.dirty = vf.dirty || vf.reset || err != nil
		return nil
	}
	return fmt.Errorf("the plugin of VF %s cannot take it back from %s: %w", vf.pci, p.name, err)
}

// endNetns deletes a pod's netns. It waits for the VFs that are left in it.
func (n *soakNode) endNetns(ctx context.Context, p *soakPod) error {
	if err := ip(ctx, "netns del %s", p.name); err != nil {
		return err
	}
	for _, b := range p.bonds {
		for _, vf := range b.members {
			if vf.lost || n.cards[vf.card].gone {
				continue
			}
			err := n.await(ctx, "VF "+vf.pci+" in the host after the end of pod "+p.name, func() (bool, error) {
				_, err := topology.Netdev(vf.pci)
				if errors.Is(err, fs.ErrNotExist) {
					return false, nil
				}
				return err == nil, err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// kill ends a pod's netns without a DEL, as after a node's crash or when a runtime's state was wiped.
func (n *soakNode) kill(ctx context.Context, p *soakPod) error {
	if err := n.endNetns(ctx, p); err != nil {
		return err
	}
	p.state = podDead
	for _, b := range p.bonds {
		for _, vf := range b.members {
			vf.dirty = true
		}
	}
	return nil
}

// leases are host-local's files of the addresses of a network.
func leases(network int) (held []string, err error) {
	entries, err := os.ReadDir(leaseDir(network))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if name := e.Name(); name != "lock" && !isLastReserved(name) {
			held = append(held, name)
		}
	}
	return held, err
}
