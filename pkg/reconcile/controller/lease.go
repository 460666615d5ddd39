package controller

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// leaseTimeout bounds one attempt to confirm a lease. The reference DHCP daemon looks for a server for 208 s.
const leaseTimeout = 4 * time.Minute

// leaseRetry is the pause after an attempt that failed. If the record has the failure, the engine determines the next
// attempt, and the saved record requests a reconcile at once.
const leaseRetry = 5 * time.Second

// confirm confirms the lease of a bond in a background task. A DEL, which waits for the call, ends it.
func (l *Controller) confirm(k bond.Key) {
	l.tasks.run(k, "lease", leaseTimeout, true, func(ctx context.Context) (then func()) {
		if err := l.c.Engine.ConfirmLease(ctx, k); err != nil && !errors.Is(err, context.Canceled) {
			l.c.Log.Debug("lease not confirmed", zap.String("bond", k.String()), zap.Error(err))
			return func() { l.queue.AddAfter(k, leaseRetry) }
		}
		return func() { l.Enqueue(k, "lease") }
	})
}
