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

// Inspect returns the status of each recorded bond. It reads records and kernel itself, so it needs no running agent.
// Records and bonds that cannot be read are reported to onError and left out.
func Inspect(ctx context.Context, records *store.Store, kernel Kernel, onError func(error)) ([]bond.Status, error) {
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
	all := []bond.Status{}
	for _, r := range list {
		o, err := engine.Inspect(ctx, r.Key)
		if err != nil {
			onError(fmt.Errorf("bond %s of pod %s: %w", r.BondName(), r.Pod, err))
			continue
		}
		all = append(all, o.Status)
	}
	return all, nil
}
