package cni

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/containernetworking/cni/pkg/skel"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/ipam"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"

	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
)

// TestAgentBesideThePlugin: while pods are added and deleted, an agent converges every bond, finishes every tombstone
// immediately, and sweeps lock files. No ADD or DEL fails, each pod keeps its address, and nothing is left.
func TestAgentBesideThePlugin(t *testing.T) {
	const pods, lives = 6, 4
	n := newNode(t, pods)
	all := make([]*skel.CmdArgs, pods)
	for i := range all {
		all[i] = n.Args(fmt.Sprint("c", i), n.Pod(fmt.Sprint("p", i), i), n.Config(nil))
	}
	before, start := n.String(), n.files()
	ctx, cancel := context.WithCancel(t.Context())
	var agent sync.WaitGroup
	for range 2 {
		agent.Go(func() { n.runAgent(ctx) })
	}
	err := cnitest.InParallel(pods, func(i int) error {
		for range lives {
			result, err := n.Add(all[i])
			if err != nil {
				return fmt.Errorf("ADD: %w", err)
			}
			r, err := n.Store.Load(bond.Key{ContainerID: all[i].ContainerID, IfName: "bond0"})
			if err != nil || len(r.Addresses) != 1 || r.Addresses[0].Prefix.String() != result.IPs[0].Address.String() || r.CNI.IPAMDone {
				return fmt.Errorf("record %+v, %w", r, err)
			}
			if err := n.Del(all[i]); err != nil {
				return fmt.Errorf("DEL: %w", err)
			}
		}
		return nil
	})
	cancel()
	agent.Wait()
	n.Must(err)
	n.WantNothingLeft(before)
	if end := n.files(); len(end) != len(start) {
		t.Errorf("files at the start %q, at the end %q", start, end)
	}
}

// runAgent is an agent that never waits.
func (n *node) runAgent(ctx context.Context) {
	e := reconcile.New(reconcile.Config{Kernel: n.Fake, Store: n.Store, IPAM: &ipam.Client{}})
	for ctx.Err() == nil {
		keys, err := n.Store.Keys()
		for _, k := range keys {
			out, convergeErr := e.Converge(ctx, k)
			if convergeErr == nil && out.Record != nil && out.Record.Deleted() {
				convergeErr = e.ReleaseRecord(ctx, out.Record)
			}
			err = errors.Join(err, convergeErr)
		}
		if err = errors.Join(err, n.Store.SweepLocks(ctx)); err != nil && ctx.Err() == nil {
			n.Errorf("the agent: %v", err)
			return
		}
	}
}
