// Command reboot is what a guest of the lab does before and after it is restarted, for the test of reboots in
// package sandbox: "before" leaves a pod with a bond behind, "after" has a collector look at what is left of it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
	"github.com/bondkeeper/bondkeeper/test/sandbox"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: reboot before|after TOP")
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if err := steps(ctx, os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "reboot:", err)
		os.Exit(1)
	}
}

// node is what both boots have: records and leases on a disk, and VFs at the same PCI addresses.
type node struct {
	c *sandbox.Containerd
	// moved are with VFs that host-device brings into the pod, taken with such that the bond takes from the host.
	moved, taken sandbox.Networks
}

func steps(ctx context.Context, step, top string) error {
	guest, err := topology.Load()
	if err != nil {
		return err
	}
	bin := filepath.Join(top, "bin")
	c, err := sandbox.NewContainerd(ctx, sandbox.Dirs{Kube: filepath.Join(top, ".cache/kube/bin"), CNI: filepath.Join(bin, "cni")}, "/run/containerd-reboot")
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	networks := sandbox.Networks{
		Plugins: []string{bin, filepath.Join(bin, "cni")},
		State:   filepath.Join(topology.ShareDir, "records"), Leases: filepath.Join(topology.ShareDir, "leases"),
	}
	n := &node{c: c, moved: networks, taken: networks}
	for _, card := range guest.Cards {
		n.moved.VFs = append(n.moved.VFs, card.VFs[0].PCI)
		n.taken.FromHost = append(n.taken.FromHost, card.VFs[1].Name)
	}
	if step == "before" {
		return n.before(ctx)
	}
	return n.after(ctx)
}

// before makes two pods. The power goes off while they live.
func (n *node) before(ctx context.Context) error {
	for name, networks := range map[string]*sandbox.Networks{"moved": &n.moved, "taken": &n.taken} {
		p, err := n.c.NewPod(ctx, name, false)
		if err != nil {
			return err
		}
		if err := networks.Add(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// after moves the VFs of one pod to another pod and leaves those of the other in the host, and has the collector list
// the records.
func (n *node) after(ctx context.Context) (err error) {
	p, err := n.c.NewPod(ctx, "after", false)
	if err != nil {
		return err
	}
	k, err := sandbox.NewCollector(n.moved.State, "containerd://"+n.c.Socket(), zap.Must(zap.NewDevelopment(zap.AddStacktrace(zap.FatalLevel))))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	old, _, err := k.Store.List(ctx)
	if err != nil || len(old) != 2 {
		return fmt.Errorf("%d records of the earlier boot, want two: %w", len(old), err)
	}
	for i, name := range n.taken.FromHost {
		if err := exec.CommandContext(ctx, "ip", "link", "set", name, "address", fmt.Sprintf("02:00:00:00:99:%02x", i)).Run(); err != nil { //nolint:gosec // a test's own words
			return fmt.Errorf("set the MAC of %s: %w", name, err)
		}
	}
	if err := n.moved.Add(ctx, p); err != nil {
		return err
	}
	own := bond.Key{ContainerID: p.ID, IfName: "bond0"}
	if err := settled(ctx, k, own); err != nil {
		return err
	}
	return n.awaitPasses(ctx, k, old, own)
}

// settled converges a bond until it is complete.
func settled(ctx context.Context, k *sandbox.Collector, key bond.Key) error {
	for {
		out, err := k.Engine.Converge(ctx, key)
		if err != nil {
			return err
		}
		if out.Status.State == bond.StateReady && out.RetryAfter == 0 {
			return nil
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("bond %s is %s: %s", key, out.Status.State, out.Status.Reason)
		}
	}
}

// awaitPasses has everything look at the old records that an agent would have look at them.
func (n *node) awaitPasses(ctx context.Context, k *sandbox.Collector, old []*bond.Record, own bond.Key) error {
	before, err := state(ctx, k, own)
	if err != nil {
		return err
	}
	for _, r := range old {
		out, failed := k.Engine.Converge(ctx, r.Key)
		if failed != nil || out.Status.State != bond.StateDown || len(out.Applied) != 0 {
			return fmt.Errorf("bond of %s: %q, applied %v: %w", r.Pod, out.Status.State, out.Applied, failed)
		}
	}
	k.Start(ctx)
	for _, r := range old {
		if err = n.released(ctx, k, r); err != nil {
			return fmt.Errorf("bond of %s: %w", r.Pod, err)
		}
	}
	after, err := state(ctx, k, own)
	if err != nil || after != before {
		return fmt.Errorf("the release of the old bonds changed links. Before:\n%s\nafter:\n%s: %w", before, after, err)
	}
	lease, err := n.moved.Lease(own.ContainerID)
	if err != nil || lease == "" || k.Released(own.ContainerID) != 0 {
		return fmt.Errorf("the new pod: %d releases, lease %q: %w", k.Released(own.ContainerID), lease, err)
	}
	fmt.Printf("the old pods' bonds were released, the new one's has %s\n", lease)
	return nil
}

// released waits for the end of an old record, and of its lease.
func (n *node) released(ctx context.Context, k *sandbox.Collector, r *bond.Record) error {
	id := r.Key.ContainerID
	if err := k.AwaitReleased(ctx, id); err != nil {
		return err
	}
	lease, err := n.moved.Lease(id)
	if err != nil || lease != "" || k.Released(id) != 1 {
		return fmt.Errorf("%d releases, lease %q: %w", k.Released(id), lease, err)
	}
	return nil
}

// state is all links of the host with the settings of their VFs, by another's eyes, and the new pod's bond.
func state(ctx context.Context, k *sandbox.Collector, own bond.Key) (string, error) {
	out, err := k.Engine.Inspect(ctx, own)
	if err != nil {
		return "", err
	}
	pod, err := json.Marshal(out.Observed)
	if err != nil {
		return "", err
	}
	links, err := exec.CommandContext(ctx, "ip", "-d", "link", "show").Output()
	return string(links) + string(pod), err
}
