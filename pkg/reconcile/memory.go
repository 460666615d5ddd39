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
	set(&p.Flap, 10*time.Second)
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
		b = &bondMemory{patience: m.patience, parts: map[subject]*partMemory{}, restored: map[string][]time.Time{}}
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
	parts    map[subject]*partMemory
	// restored has the times at which a requested setting was restored, for the last minute.
	restored map[string][]time.Time
}

// subject is what fails and is retried for itself: a member or the bond, and for it a kind of action that is not
// essential. The essential ones have kind "".
type subject struct {
	member int
	kind   string
}

// subjectOf keeps apart what must not hold up the rest: a route that the kernel refuses is no reason to leave the
// bond down.
func subjectOf(a plan.Action) subject {
	s := subject{member: a.On()}
	switch a.(type) {
	case plan.AddAddress, plan.DelAddress:
		s.kind = "address"
	case plan.AddRoute, plan.DeleteRoute:
		s.kind = "route"
	case plan.SetLinkSettings:
		s.kind = "settings"
	case plan.SetUpper:
		s.kind = "upper"
	case plan.Announce:
		s.kind = "announce"
	}
	return s
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

// part is what is remembered of the essentials of a member or of the bond.
func (b *bondMemory) part(i int) *partMemory { return b.of(subject{member: i}) }

func (b *bondMemory) of(s subject) *partMemory {
	p := b.parts[s]
	if p == nil {
		p = &partMemory{}
		b.parts[s] = p
	}
	return p
}

// held is when an action may be tried: not before its own kind, and not before the essentials of its member.
func (b *bondMemory) held(a plan.Action) time.Time {
	own, essential := b.of(subjectOf(a)).holdUntil, b.part(a.On()).holdUntil
	if own.After(essential) {
		return own
	}
	return essential
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
		return now.Before(b.held(a))
	})
}

// applied notes that an action succeeded. afterLoss: the bond was lost or down, which takes its addresses and routes, so
// no other writer insists on anything.
func (b *bondMemory) applied(a plan.Action, afterLoss bool, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.of(subjectOf(a))
	p.failures, p.stales, p.err = 0, 0, nil
	if setting := plan.Contestable(a); setting != "" && !afterLoss {
		b.restored[setting] = append(lastMinute(b.restored[setting], now), now)
	}
	if _, ok := a.(plan.Bounce); ok {
		// It gets as long again to help: a driver needs a moment, and no person is called for that.
		p.bounced, p.deafSince = true, time.Time{}
	}
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

// failed notes that an action failed, and returns how long its kind is left alone.
func (b *bondMemory) failed(a plan.Action, err error, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.of(subjectOf(a))
	p.failures++
	p.err = err
	wait := b.patience.backoff(p.failures)
	p.holdUntil = now.Add(wait)
	return wait
}

// stale notes a plan that was overtaken. Once is normal; over and over means a link that
// flickers, and is answered like a failure.
func (b *bondMemory) stale(a plan.Action, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.of(subjectOf(a))
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
		if hold := b.held(a); now.Before(hold) {
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

// refused says that the kernel refuses an action, and that time alone will not change that.
func (b *bondMemory) refused(a plan.Action) bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.of(subjectOf(a))
	return p.failures >= refusals && !errors.Is(p.err, bond.ErrBusy)
}

// trouble is what keeps member i, or the bond, from being repaired, for people; empty when nothing is known to.
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
	}
	for _, kind := range []string{"settings", "upper", "address", "route"} {
		if p := b.parts[subject{member: i, kind: kind}]; p != nil && p.err != nil {
			return p.err.Error()
		}
	}
	return ""
}
