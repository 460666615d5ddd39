package status

import (
	"math/rand/v2"
	"sync"
	"time"
)

// circuitBreaker holds back all requests of the node while the API server is unavailable. It then allows one request at
// a time (half open) until one succeeds: an outage costs the API server one request per pause and node. Pauses double
// up to maxPause, with a jitter of half, so that nodes which failed together do not return together.
type circuitBreaker struct {
	minPause, maxPause time.Duration

	mu      sync.Mutex
	failed  int // requests in a row
	until   time.Time
	probing bool
}

// allow reports whether a request may be made now; if so, done or cancel must follow. Otherwise it returns the time to
// wait.
func (b *circuitBreaker) allow(now time.Time) (wait time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case now.Before(b.until):
		return b.until.Sub(now), false
	case b.failed > 0 && b.probing:
		return b.minPause, false
	}
	b.probing = b.failed > 0
	return 0, true
}

// maxRetryAfter bounds the Retry-After of a server: it may be a broken proxy.
const maxRetryAfter = 10 * time.Minute

// done records how a request ended: whether the API server was available, and its Retry-After (0 if none). It reports
// whether the breaker opened or closed.
func (b *circuitBreaker) done(now time.Time, available bool, retryAfter time.Duration) (changed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if available {
		changed = b.failed > 0
		b.failed, b.probing, b.until = 0, false, time.Time{}
		return changed
	}
	if now.Before(b.until) {
		return false // sent before the pause
	}
	b.failed++
	b.probing = false
	pause := jitter(backoff(b.minPause, b.maxPause, b.failed), rand.Float64())
	if requested := min(retryAfter, maxRetryAfter); requested > 0 {
		// Never sooner than requested, and not all nodes at once.
		pause = max(pause, requested+time.Duration(rand.Float64()*float64(requested)))
	}
	b.until = now.Add(pause)
	return b.failed == 1
}

// cancel ends a request whose result is not known.
func (b *circuitBreaker) cancel() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
}

// nextAllowed returns when the next request may be made.
func (b *circuitBreaker) nextAllowed() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.until
}

// backoff returns minimum for the first failure and doubles it with each further one, up to maximum.
func backoff(minimum, maximum time.Duration, failures int) time.Duration {
	d := minimum
	for range failures - 1 {
		if d >= maximum/2 {
			return maximum
		}
		d *= 2
	}
	return min(d, maximum)
}

// jitter returns d, changed by up to half of it; chance is between 0 and 1.
func jitter(d time.Duration, chance float64) time.Duration {
	return d/2 + time.Duration(chance*float64(d))
}
