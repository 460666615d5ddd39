package loop

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// A pod can make events on its own links as fast as it likes. So many looks at one bond follow events at once, and so
// many a second after that; the looks that the engine asks for itself do not count.
const (
	lookBurst = 50
	lookRate  = 20
)

// pace bounds the looks at each bond. Its methods are safe for concurrent use.
type pace struct {
	mu    sync.Mutex
	bonds map[bond.Key]*rate.Limiter
}

func newPace() *pace { return &pace{bonds: map[bond.Key]*rate.Limiter{}} }

// wait is how long the next look at a bond has to wait.
func (p *pace) wait(k bond.Key, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	limiter := p.bonds[k]
	if limiter == nil {
		return 0
	}
	missing := 1 - limiter.TokensAt(now)
	return max(0, time.Duration(missing*float64(time.Second)/lookRate))
}

// looked counts a look.
func (p *pace) looked(k bond.Key, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	limiter := p.bonds[k]
	if limiter == nil {
		limiter = rate.NewLimiter(lookRate, lookBurst)
		p.bonds[k] = limiter
	}
	limiter.AllowN(now, 1)
}

// forget drops what is known of a bond.
func (p *pace) forget(k bond.Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.bonds, k)
}
