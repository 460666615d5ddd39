package loop

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

// finish releases a tombstone that its plugin has left, after a grace period. Attempts that failed make the pause
// before the next one longer. The release calls an IPAM plugin and therefore runs as an errand.
func (l *Loop) finish(k bond.Key, out *reconcile.Outcome) {
	r := out.Record
	l.errands.cancel(k)
	if out.Status.Unreleased != "" {
		l.errands.note(k, true)
		l.c.Report(out.Status)
	}
	pause := reconcile.ReleasePause(l.c.Grace, r.Releases)
	if since := time.Since(r.Updated); since >= 0 && since < pause { // below 0 the clock was set back
		l.queue.Forget(k)
		l.queue.AddAfter(k, pause-since)
		return
	}
	l.errands.run(k, releasePool(r), releaseTimeout, func(ctx context.Context) (then func()) { return l.release(ctx, k, r) })
}

// releasePool is the pool of a release: that of the IPAM plugin, with one apart for releases that failed before.
func releasePool(r *bond.Record) string {
	if r.Releases > 1 {
		return "release again " + r.IPAMPlugin()
	}
	return "release " + r.IPAMPlugin()
}

// release is the errand. Afterwards the record is gone, or the next look finds when to try again.
func (l *Loop) release(ctx context.Context, k bond.Key, r *bond.Record) (then func()) {
	err := l.c.Engine.ReleaseRecord(ctx, r)
	l.errands.note(k, err != nil)
	fields := []zap.Field{zap.String("bond", k.String()), zap.String("pod", r.Pod.String())}
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			pause := reconcile.ReleasePause(l.c.Grace, r.Releases+1)
			l.c.Log.Error("release left by the plugin failed", append(fields, zap.Error(err), zap.Duration("retryAfter", pause))...)
		}
		return func() { l.queue.AddRateLimited(k) }
	}
	l.c.Log.Info("released what the plugin had left", fields...)
	l.c.Forget(k)
	l.pace.forget(k)
	return func() { l.queue.Forget(k) }
}
