package controller

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

// finishRelease finishes the release of a tombstone after the grace period. The pause doubles after each failed
// attempt. The release calls an IPAM plugin and therefore runs as a background task.
func (l *Controller) finishRelease(k bond.Key, out *reconcile.Outcome) {
	r := out.Record
	l.tasks.cancel(k)
	if out.Status.Unreleased != "" {
		l.tasks.setFailing(k, true)
		l.c.Report(out.Status)
	}
	pause := reconcile.ReleasePause(l.c.Grace, r.Releases)
	if since := time.Since(r.Updated); since >= 0 && since < pause { // below 0 the clock was set back
		l.queue.Forget(k)
		l.queue.AddAfter(k, pause-since)
		return
	}
	l.tasks.run(k, releasePool(r), releaseTimeout, false, func(ctx context.Context) (then func()) { return l.release(ctx, k, r) })
}

// releasePool returns the pool of a release: one per IPAM plugin, and a separate one for releases that failed before.
func releasePool(r *bond.Record) string {
	if r.Releases > 1 {
		return "release again " + r.IPAMPlugin()
	}
	return "release " + r.IPAMPlugin()
}

// release is the task. Afterwards the record is gone, or the next reconcile determines when to try again.
func (l *Controller) release(ctx context.Context, k bond.Key, r *bond.Record) (then func()) {
	err := l.c.Engine.ReleaseRecord(ctx, r)
	l.tasks.setFailing(k, err != nil)
	fields := []zap.Field{zap.String("bond", k.String()), zap.String("pod", r.Pod.String())}
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			pause := reconcile.ReleasePause(l.c.Grace, r.Releases+1)
			l.c.Log.Error("cannot finish a release that the plugin started", append(fields, zap.Error(err), zap.Duration("retryAfter", pause))...)
		}
		return func() { l.queue.AddRateLimited(k) }
	}
	l.c.Log.Info("finished a release that the plugin started", fields...)
	l.c.Forget(k)
	l.limiter.forget(k)
	return func() { l.queue.Forget(k) }
}
