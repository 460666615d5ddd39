package agent

import (
	"context"
	"fmt"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/pkg/store"
)

// Kernel is what Inspect needs of a kernel.
type Kernel interface {
	reconcile.Kernel
	SandboxAlive(bond.Sandbox) (bool, error)
}

// Inspect observes each recorded bond that is selected, and returns its status and what a reconcile would do. It reads
// records and kernel itself, so it needs no running agent. What only a running agent knows, such as the back-off of a
// failed action, is missing. Records and bonds that cannot be read are reported to onError and left out.
func Inspect(ctx context.Context, records *store.Store, kernel Kernel, selected func(*bond.Record) bool, onError func(error)) ([]reconcile.Outcome, error) {
	list, bad, err := records.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range bad {
		onError(p)
	}
	engine := reconcile.New(reconcile.Config{
		Kernel: kernel, Store: records, SandboxAlive: kernel.SandboxAlive,
		Records: func(context.Context) ([]*bond.Record, error) { return list, nil },
	})
	var all []reconcile.Outcome
	for _, r := range list {
		if !selected(r) {
			continue
		}
		o, err := engine.Inspect(ctx, r.Key)
		if err != nil {
			onError(fmt.Errorf("bond %s of pod %s: %w", r.BondName(), r.Pod, err))
			continue
		}
		all = append(all, o)
	}
	return all, nil
}
