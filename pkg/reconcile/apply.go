package reconcile

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// applyOne makes one change. The kernel rejects the creation of a bond as a whole, whichever option it is about. A bond
// that is recreated is then created with its mode only. The planner sets the other options one by one, and reports
// those that are rejected. An ADD fails instead: a user can correct its config. An ADD also saves the ifindex of its bond
// at once: another writer may rename the bond before it is observed, or before a failed ADD is undone.
func (e *Engine) applyOne(ctx context.Context, rec *bond.Record, a plan.Action) error {
	err := e.kernel.Apply(ctx, rec, a)
	create, ok := a.(plan.CreateBond)
	if err == nil && ok && rec.Phase == bond.PhaseAdding {
		return e.save(rec)
	}
	if err == nil || !ok || rec.Phase != bond.PhaseReady || !isRejection(err) || ctx.Err() != nil || e.deletedMeanwhile(rec) {
		return err
	}
	if e.kernel.Apply(ctx, rec, create.ModeOnly()) != nil {
		return err
	}
	e.countFailure(a, err)
	e.logOf(rec, plan.OnBond).Warn("kernel rejected the bond's options; bond recreated with its mode only", zap.Error(err))
	return nil
}

// isRejection reports whether an error means that the kernel rejects a request, at least for now.
func isRejection(err error) bool {
	return !errors.Is(err, bond.ErrBusy) && !errors.Is(err, bond.ErrStale) && !errors.Is(err, bond.ErrGone)
}
