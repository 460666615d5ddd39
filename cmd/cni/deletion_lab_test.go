//go:build lab

package main

import (
	"context"
	"sync"
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// slowKernel is the real kernel whose first change is delayed until released, as with a hanging driver.
type slowKernel struct {
	reconcile.Kernel
	started, release chan struct{}
	once             sync.Once
	applied          []plan.Action
}

func (k *slowKernel) Apply(ctx context.Context, r *bond.Record, a plan.Action) error {
	k.once.Do(func() {
		close(k.started)
		<-k.release
	})
	k.applied = append(k.applied, a)
	return k.Kernel.Apply(ctx, r, a)
}

// TestDelDuringASlowReconcile: on real VFs, the plugin's DEL marks the record while the agent makes a change. The agent
// checks the mark before its next change, and DEL deletes the bond.
func TestDelDuringASlowReconcile(t *testing.T) {
	p := newPod(t)
	p.attachVFs()
	before := p.links()
	conf := p.local(`"mode":1,"failOverMac":1,"miimon":100`, "")
	p.well("ADD", "bond0", conf, nil)
	for _, name := range []string{"net1", "net2"} {
		p.ip("-n", p.name, "link", "set", name, "nomaster")
	}

	b, err := open(p.state)
	kit.Must(t, err)
	key := bond.Key{ContainerID: p.name, IfName: "bond0"}
	rec, err := b.Store.Load(key)
	kit.Must(t, err)
	slow := &slowKernel{Kernel: b.Kernel, started: make(chan struct{}), release: make(chan struct{})}
	var out reconcile.Outcome
	var work sync.WaitGroup
	work.Go(func() {
		out, err = reconcile.New(reconcile.Config{Kernel: slow, Store: b.Store}).Converge(t.Context(), key)
	})
	<-slow.started
	var failed *types.Error
	var del sync.WaitGroup
	del.Go(func() { _, failed = p.bare("DEL", "bond0", conf, nil) })
	p.wait("the mark", func() bool { return b.Store.MarkedDeleted(rec) })
	close(slow.release)
	work.Wait()
	if err != nil || len(slow.applied) != 1 || len(out.Plan.Actions) < 2 || out.Status.State != bond.StateDeleting {
		t.Errorf("after DEL had begun the agent went on: applied %v of %v, state %s, %v", slow.applied, out.Plan.Actions, out.Status.State, err)
	}
	del.Wait()
	if failed != nil {
		t.Fatalf("DEL: %v", failed)
	}
	p.nothingLeft(before)
}
