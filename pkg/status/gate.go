package status

import (
	"math/rand/v2"
	"sync"
	"time"
)

// gate holds back all requests of the node while the API server does not answer. It opens
// for one request at a time until that succeeds, so that an outage costs the API server one
// request a pause and node. Pauses double up to last, and are spread by half on both sides,
// so that nodes which failed together do not come back together.
type gate struct {
	first, last time.Duration

	mu      sync.Mutex
	failed  int // requests in a row
	until   time.Time
	probing bool
}

// enter says that a request may be made now, and then leave must be called; or else how long
// to wait before asking again.
func (g *gate) enter(now time.Time) (wait time.Duration, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case now.Before(g.until):
		return g.until.Sub(now), false
	case g.failed > 0 && g.probing:
		return g.first, false
	}
	g.probing = g.failed > 0
	return 0, true
}

// maxRetryAfter bounds what a server can ask for: it may be a broken proxy.
const maxRetryAfter = 10 * time.Minute

// leave tells how the request ended: whether the API server was there, and if not, how long
// it asked to be left alone (0 when it did not). It says whether that is news.
func (g *gate) leave(now time.Time, there bool, retryAfter time.Duration) (news bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if there {
		news = g.failed > 0
		g.failed, g.probing, g.until = 0, false, time.Time{}
		return news
	}
	if now.Before(g.until) {
		return false // sent before the pause began
	}
	g.failed++
	g.probing = false
	pause := spread(backoff(g.first, g.last, g.failed))
	if asked := min(retryAfter, maxRetryAfter); asked > 0 {
		// Never sooner than asked, and not all nodes at once.
		pause = max(pause, asked+time.Duration(rand.Float64()*float64(asked)))
	}
	g.until = now.Add(pause)
	return g.failed == 1
}

// cancel ends a request of which nothing was learned.
func (g *gate) cancel() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.probing = false
}

// opens is when the next request may be made.
func (g *gate) opens() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.until
}

// backoff doubles from first with every failure after the first one, up to last.
func backoff(first, last time.Duration, failures int) time.Duration {
	d := first
	for range failures - 1 {
		if d >= last/2 {
			return last
		}
		d *= 2
	}
	return min(d, last)
}

// spread is d, up to half of it off to either side.
func spread(d time.Duration) time.Duration {
	return d/2 + time.Duration(rand.Float64()*float64(d))
}
