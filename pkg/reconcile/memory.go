package reconcile

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile/plan"
)

// Patience holds the times that an Engine waits for. Zero fields mean the defaults.
type Patience struct {
	// FirstRetry is the wait after a first failed action; it doubles with each further one
	// up to LastRetry. Default 100 ms and 30 s.
	FirstRetry, LastRetry time.Duration
	// Flap: a member lost again within this time of its return is held back for a growing time.
	// Default 10 s.
	Flap time.Duration
	// Carrier is how long a member may be without carrier while its PF has one before it is
	// bounced. Default 15 s.
	Carrier time.Duration
}

func (p Patience) withDefaults() Patience {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&p.FirstRetry, 100*time.Millisecond)
	set(&p.LastRetry, 30*time.Second)
	set(&p.Flap, 10*time.Second)
	set(&p.Carrier, 15*time.Second)
	return p
}

// backoff is the wait after the nth failure in a row, n from 1.
func (p Patience) backoff(n int) time.Duration {
	d := p.FirstRetry
	for ; n > 1 && d < p.LastRetry; n-- {
		d *= 2
	}
	return min(d, p.LastRetry)
}

// memories is what an Engine remembers of its bonds between calls. All of it can be lost: it
// only keeps the engine from trying again too soon.
type memories struct {
	patience Patience
	mu       sync.Mutex
	bonds    map[bond.Key]*bondMemory
}

func newMemories(p Patience) *memories {
	return &memories{patience: p, bonds: map[bond.Key]*bondMemory{}}
}

func (m *memories) of(k bond.Key) *bondMemory {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.bonds[k]
	if b == nil {
		b = &bondMemory{patience: m.patience, parts: map[int]*partMemory{}}
		m.bonds[k] = b
	}
	return b
}

func (m *memories) forget(k bond.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.bonds, k)
}

// bondMemory is what is remembered of one bond, by member index and plan.OnBond.
type bondMemory struct {
	patience Patience
	mu       sync.Mutex
	parts    map[int]*partMemory
}

type partMemory struct {
	failures  int // of actions, in a row
	flaps     int // losses soon after a return, in a row
	stales    int // plans overtaken, in a row
	holdUntil time.Time
	err       error
	deafSince time.Time // up, no carrier, its PF has one
	bounced   bool
	returned  time.Time
	// untoldSince: it is a VF in the host of which its PF does not tell.
	untoldSince time.Time
}

func (b *bondMemory) part(i int) *partMemory {
	p := b.parts[i]
	if p == nil {
		p = &partMemory{}
		b.parts[i] = p
	}
	return p
}

// hints tells the planner what time has to do with it.
func (b *bondMemory) hints(rec *bond.Record, obs *bond.Observed, now time.Time) []plan.Hint {
	b.mu.Lock()
	defer b.mu.Unlock()
	hints := make([]plan.Hint, len(rec.Members))
	for i := range hints {
		m, p := &obs.Members[i], b.part(i)
		switch {
		case m.Link.Carrier:
			p.deafSince, p.bounced = time.Time{}, false
			if p.flaps > 0 && now.Sub(p.returned) > b.patience.Flap {
				p.flaps = 0
			}
		case !enslaved(obs, i) || !m.Link.Up || m.PF == nil || !m.PF.Carrier:
			p.deafSince = time.Time{}
		case p.deafSince.IsZero():
			p.deafSince = now
		}
		if !untold(rec, obs, i) {
			p.untoldSince = time.Time{}
		} else if p.untoldSince.IsZero() {
			p.untoldSince = now
		}
		overdue := !p.deafSince.IsZero() && now.Sub(p.deafSince) >= b.patience.Carrier
		hints[i] = plan.Hint{Overdue: overdue, Bounced: overdue && p.bounced}
	}
	return hints
}

// untold: the VF is back, and its PF does not tell its settings yet. While VFs are made this is so until the last
// one has its driver (sriov_enable in drivers/pci/iov.c), and no link event says that it has ended.
func untold(rec *bond.Record, obs *bond.Observed, i int) bool {
	m := &obs.Members[i]
	wanted := obs.SandboxAlive && !rec.Deleted()
	return wanted && rec.Members[i].VF != nil && m.Place == bond.InHost && m.PF == nil
}

// due are the actions that need not wait for the end of a hold.
func (b *bondMemory) due(actions []plan.Action, now time.Time) []plan.Action {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(actions), func(a plan.Action) bool {
		return now.Before(b.part(a.On()).holdUntil)
	})
}

func (b *bondMemory) applied(a plan.Action) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.part(a.On())
	p.failures, p.stales, p.err = 0, 0, nil
	if _, ok := a.(plan.Bounce); ok {
		// It gets as long again to help: a driver needs a moment, and no person is called for that.
		p.bounced, p.deafSince = true, time.Time{}
	}
}

// failed notes that an action of part i failed, and says how long it is left alone.
func (b *bondMemory) failed(i int, err error, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.part(i)
	p.failures++
	p.err = err
	wait := b.patience.backoff(p.failures)
	p.holdUntil = now.Add(wait)
	return wait
}

// stale notes a plan that was overtaken. Once is normal; over and over means a link that
// flickers, and is answered like a failure.
func (b *bondMemory) stale(i int, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.part(i)
	if p.stales++; p.stales > 2 {
		p.holdUntil = now.Add(b.patience.backoff(p.stales - 2))
	}
}

// lost notes that a member went missing; one that had come back just before is held.
func (b *bondMemory) lost(i int, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.part(i)
	if !p.returned.IsZero() && now.Sub(p.returned) < b.patience.Flap {
		if p.flaps++; p.flaps > 1 {
			p.holdUntil = now.Add(b.patience.backoff(p.flaps + 1))
		}
		return
	}
	p.flaps = 0
}

func (b *bondMemory) returned(i int, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.part(i).returned = now
}

// retryAfter is when the first hold or patience of this bond ends; 0 when none runs.
func (b *bondMemory) retryAfter(p plan.Plan, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	var first time.Duration
	consider := func(at time.Time) {
		if d := max(at.Sub(now), time.Millisecond); first == 0 || d < first {
			first = d
		}
	}
	for _, a := range p.Actions {
		if hold := b.part(a.On()).holdUntil; now.Before(hold) {
			consider(hold)
		}
	}
	for _, part := range b.parts {
		if !part.untoldSince.IsZero() {
			// As long again as it has lasted: no event will come, and a PF may stay away for good.
			consider(now.Add(min(max(now.Sub(part.untoldSince), b.patience.FirstRetry), b.patience.LastRetry)))
		}
		patient := part.deafSince.Add(b.patience.Carrier)
		if !part.deafSince.IsZero() && (!part.bounced || now.Before(patient)) {
			consider(patient)
		}
	}
	return first
}

// refusals is how often in a row, over some three seconds, a part's action may be refused, and not as busy,
// before a person is called.
const refusals = 5

// refused says that the kernel refuses what part i needs, and that time alone will not change that.
func (b *bondMemory) refused(i int) bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.part(i)
	return p.failures >= refusals && !errors.Is(p.err, bond.ErrBusy)
}

// trouble is what keeps part i from being repaired, for people; empty when nothing is known to.
func (b *bondMemory) trouble(i int) string {
	if b == nil {
		return ""
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.part(i)
	switch {
	case p.err != nil:
		return p.err.Error()
	case p.flaps > 1:
		return "it keeps being lost again right after its return and is held back until " + p.holdUntil.UTC().Format(time.TimeOnly) + " UTC"
	default:
		return ""
	}
}
