package runtime

import (
	"context"
	"time"
)

// reconnectWithin bounds the waits between tries to reach a runtime that is away.
const reconnectWithin = 5 * time.Second

// The waits before a stream of events that ended is opened again. One that a runtime does not
// have at all ends at once each time, so the longest wait is what it costs.
const (
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// follow keeps a stream of events open until ctx ends. stream calls wake once it is open, for
// nobody knows what was missed before, and with each event; it returns when the stream ended.
// Why it ended is told by Sandboxes, to those whom it concerns.
func follow(ctx context.Context, stream func(context.Context) error) {
	wait := firstRetry
	for {
		began := time.Now()
		_ = stream(ctx)
		if time.Since(began) > lastRetry {
			wait = firstRetry
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, lastRetry)
	}
}
