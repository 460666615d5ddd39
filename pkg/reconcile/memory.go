package reconcile

import (
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
	// Flap: a member lost again within this time of its return is held back for a growing time. sriov-network-operator
	// rebinds a VF's driver when it did not see the VF in the host for 10 s, and again if a second wait of 10 s was in vain;
	// a VF that is held back is seen. Default 30 s.
	Flap time.Duration
	// Carrier is how long a member may be without carrier while its PF has one before it is
	// bounced. Default 15 s.
	Carrier time.Duration
	// SetupQuiet and SetupTimeout end a pod's set-up where nothing else shows its end: after so long without a change
	// by another writer, and so long after ADD returned. Default 10 s and 60 s.
	SetupQuiet, SetupTimeout time.Duration
}

func (p Patience) withDefaults() Patience {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&p.FirstRetry, 100*time.Millisecond)
	set(&p.LastRetry, 30*time.Second)
	set(&p.Flap, 30*time.Second)
	set(&p.Carrier, 15*time.Second)
	set(&p.SetupQuiet, 10*time.Second)
	set(&p.SetupTimeout, time.Minute)
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
		b = &bondMemory{patience: m.patience, parts: map[int]*partMemory{}, tries: map[subject]*tryMemory{}, restored: map[string][]time.Time{}, budgets: map[subject]*budget{}}
		m.bonds[k] = b
	}
	return b
}

func (m *memories) forget(k bond.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.bonds, k)
}

// bondMemory is what is remembered of one bond.
type bondMemory struct {
	patience Patience
	mu       sync.Mutex
	// parts is by member index and plan.OnBond.
	parts   map[int]*partMemory
	tries   map[subject]*tryMemory
	budgets map[subject]*budget
	// restored has the times at which a requested setting was restored, for the last minute.
	restored map[string][]time.Time
}

// partMemory is what is remembered of a member or of the bond.
type partMemory struct {
	flaps     int       // losses soon after a return, in a row
	holdUntil time.Time // because of them
	deafSince time.Time // up, no carrier, its PF has one
	bounced   bool
	returned  time.Time
	quiet     bool // its last loss was logged at debug level
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

// contestLimit is how often within contestWindow a requested setting is restored before its change is adopted.
const (
	contestLimit  = 3
	contestWindow = time.Minute
)

// contested reports whether a setting has been restored so often that another writer must be insisting on its own.
func (b *bondMemory) contested(setting string, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(lastMinute(b.restored[setting], now)) >= contestLimit
}

func lastMinute(times []time.Time, now time.Time) []time.Time {
	return slices.DeleteFunc(times, func(at time.Time) bool { return now.Sub(at) > contestWindow })
}

// lost notes that a member went missing; one that had come back just before is held. The bond is not, which would hold back
// all that is done to it: its repairs have budgets.
func (b *bondMemory) lost(i int, now time.Time) {
	if i == plan.OnBond {
		return
	}
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
func (b *bondMemory) retryAfter(r *repairing, p plan.Plan, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	var first time.Duration
	consider := func(at time.Time) {
		if d := max(at.Sub(now), time.Millisecond); first == 0 || d < first {
			first = d
		}
	}
	for _, a := range p.Actions {
		if hold := b.heldUntil(r, a, now); now.Before(hold) {
			consider(hold)
		}
	}
	for i, part := range b.parts {
		if !part.untoldSince.IsZero() {
			// As long again as it has lasted: no event will come, and a PF may stay away for good.
			consider(now.Add(min(max(now.Sub(part.untoldSince), b.patience.FirstRetry), b.patience.LastRetry)))
		}
		// A planned bounce has its own hold. To look again at once until that ends would be a busy loop.
		bouncing := slices.ContainsFunc(p.Actions, func(a plan.Action) bool { _, ok := a.(plan.Bounce); return ok && a.On() == i })
		patient := part.deafSince.Add(b.patience.Carrier)
		if !part.deafSince.IsZero() && (now.Before(patient) || !part.bounced && !bouncing) {
			consider(patient)
		}
	}
	return first
}
