package agent

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/bondkeeper/bondkeeper/pkg/store"
)

// WithLock calls run while it holds the lock of the node's agent, for which it waits. If ctx ends first it returns nil.
func WithLock(ctx context.Context, records *store.Store, log *zap.Logger, run func() error) error {
	unlock, err := records.LockAgent(ctx, func(pid int) {
		log.Warn("another agent is running on this node; waiting for its lock", zap.Int("otherPID", pid), zap.String("stateDir", records.Dir()))
	})
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	return run()
}

// sweepPause is the time between two sweeps for lock files that killed processes left.
const sweepPause = 10 * time.Minute

// SweepLocks removes the lock files of killed processes at the start and from time to time, until ctx ends.
func SweepLocks(ctx context.Context, records *store.Store, log *zap.Logger) {
	for {
		if err := records.SweepLocks(ctx); err != nil && ctx.Err() == nil {
			log.Warn("cannot remove lock files of killed processes", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(sweepPause):
		}
	}
}
