package runtime

import (
	"context"
	"time"
)

// reconnectWithin bounds the pause between attempts to connect to a runtime that is unavailable.
const reconnectWithin = 5 * time.Second

// The pauses before a stream of events that ended is opened again. If a runtime does not support one it ends at once
// each time, so maxRetry determines the cost.
const (
	minRetry = time.Second
	maxRetry = time.Minute
)

// resubscribe opens a stream of events again and again until ctx ends. stream calls wake when it is open, because
// events may have been missed before, and for each event; it returns when the stream has ended. Errors are reported by
// Sandboxes, not here.
func resubscribe(ctx context.Context, stream func(context.Context) error) {
	wait := minRetry
	for {
		began := time.Now()
		streamCtx, end := openStream(ctx)
		_ = stream(streamCtx)
		end()
		if time.Since(began) > maxRetry {
			wait = minRetry
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, maxRetry)
	}
}
