package reconcile

import (
	"slices"
	"sync"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// Timing has the waits of an Engine. Zero fields mean the defaults.
type Timing struct {
	// MinBackoff is the wait after a first failed action; it doubles with each further one
	// up to LastRetry. Default 100 ms and 30 s.
	MinBackoff, MaxBackoff time.Duration
	// FlapWindow: a member lost again within this time of its return is held back for a growing time. sriov-network-operator
	// rebinds a VF's driver when it did not see the VF in the host for 10 s, and again if a second wait of 10 s was in vain;
	// a VF that is held back is seen. Default 30 s.
	FlapWindow time.Duration
	// NoCarrierWait is how long a member may be without carrier while its PF has one before it is
	// bounced. Default 15 s.
	NoCarrierWait time.Duration
	// SetupQuiet and SetupTimeout end a pod's set-up where nothing else shows its end: after so long without a change
	// by another writer, and so long after ADD returned. Default 10 s and 60 s.
	SetupQuiet, SetupTimeout time.Duration
}

func (p Timing) withDefaults() Timing {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&p.MinBackoff, 100*time.Millisecond)
	set(&p.MaxBackoff, 30*time.Second)
	set(&p.FlapWindow, 30*time.Second)
	set(&p.NoCarrierWait, 15*time.Second)
	set(&p.SetupQuiet, 10*time.Second)
	set(&p.SetupTimeout, time.Minute)
	return p
}

// backoff returns the pause after the nth failure in a row, n from 1.
func (p Timing) backoff(n int) time.Duration {
	d := p.MinBackoff
	for ; n > 1 && d < p.MaxBackoff; n-- {
		d *= 2
	}
	return min(d, p.MaxBackoff)
}

// repairStates has the volatile state of repairs by bond. It may be lost: it only limits retries.
type repairStates struct {
	timing Timing
	mu     sync.Mutex
	bonds  map[bond.Key]*bondRepairState
}

func newRepairStates(p Timing) *repairStates {
	return &repairStates{timing: p, bonds: map[bond.Key]*bondRepairState{}}
}

func (m *repairStates) of(k bond.Key) *bondRepairState {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.bonds[k]
	if b == nil {
		b = &bondRepairState{timing: m.timing, members: map[int]*memberRepairState{}, retries: map[actionKey]*retryState{}, restored: map[string][]time.Time{}, budgets: map[actionKey]*budget{}}
		m.bonds[k] = b
	}
	return b
}

func (m *repairStates) forget(k bond.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.bonds, k)
}

// bondRepairState is the volatile state of one bond's repairs.
type bondRepairState struct {
	timing Timing
	mu     sync.Mutex
	// members is by member index and plan.OnBond.
	members map[int]*memberRepairState
	retries map[actionKey]*retryState
	budgets map[actionKey]*budget
	// restored has the times at which a requested setting was restored, for the last minute.
	restored map[string][]time.Time
}

// memberRepairState is the volatile state of repairs of a member, or of the bond itself.
type memberRepairState struct {
	flaps          int       // losses soon after a return, in a row
	retryAt        time.Time // because of them
	noCarrierSince time.Time // up, no carrier, its PF has one
	bounced        bool
	returned       time.Time
	quiet          bool // its last loss was logged at debug level
	// vfInfoMissingSince: the VF is in the host, but its PF does not list it.
	vfInfoMissingSince time.Time
}

func (b *bondRepairState) member(i int) *memberRepairState {
	p := b.members[i]
	if p == nil {
		p = &memberRepairState{}
		b.members[i] = p
	}
	return p
}

// hints returns the planner's input that depends on time.
func (b *bondRepairState) hints(rec *bond.Record, obs *bond.Observed, now time.Time) []plan.Hint {
	b.mu.Lock()
	defer b.mu.Unlock()
	hints := make([]plan.Hint, len(rec.Members))
	for i := range hints {
		m, p := &obs.Members[i], b.member(i)
		switch {
		case m.Link.Carrier:
			p.noCarrierSince, p.bounced = time.Time{}, false
			if p.flaps > 0 && now.Sub(p.returned) > b.timing.FlapWindow {
				p.flaps = 0
			}
		case !enslaved(obs, i) || !m.Link.Up || m.PF == nil || !m.PF.Carrier:
			p.noCarrierSince = time.Time{}
		case p.noCarrierSince.IsZero():
			p.noCarrierSince = now
		}
		if !vfInfoMissing(rec, obs, i) {
			p.vfInfoMissingSince = time.Time{}
		} else if p.vfInfoMissingSince.IsZero() {
			p.vfInfoMissingSince = now
		}
		overdue := !p.noCarrierSince.IsZero() && now.Sub(p.noCarrierSince) >= b.timing.NoCarrierWait
		hints[i] = plan.Hint{Overdue: overdue, Bounced: overdue && p.bounced}
	}
	return hints
}

// vfInfoMissing reports whether the VF is back but its PF does not list it yet: during sriov_enable (drivers/pci/iov.c) it
// appears only when the last VF has been probed, without a link event.
func vfInfoMissing(rec *bond.Record, obs *bond.Observed, i int) bool {
	m := &obs.Members[i]
	desired := obs.SandboxAlive && !rec.Deleted()
	return desired && rec.Members[i].VF != nil && m.Location == bond.InHost && m.PF == nil
}

// contestLimit is how often within contestWindow a requested setting is restored before its change is adopted.
const (
	contestLimit  = 3
	contestWindow = time.Minute
)

// contested reports whether a setting has been restored so often that another writer must be insisting on its own.
func (b *bondRepairState) contested(setting string, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(lastMinute(b.restored[setting], now)) >= contestLimit
}

func lastMinute(times []time.Time, now time.Time) []time.Time {
	return slices.DeleteFunc(times, func(at time.Time) bool { return now.Sub(at) > contestWindow })
}

// lost records the loss of a member. If it had just returned it is held back. The bond itself is not, which would stop all
// repairs: those have budgets.
func (b *bondRepairState) lost(i int, now time.Time) {
	if i == plan.OnBond {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.member(i)
	if !p.returned.IsZero() && now.Sub(p.returned) < b.timing.FlapWindow {
		if p.flaps++; p.flaps > 1 {
			p.retryAt = now.Add(b.timing.backoff(p.flaps + 1))
		}
		return
	}
	p.flaps = 0
}

func (b *bondRepairState) returned(i int, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.member(i).returned = now
}

// retryAfter returns when the first wait of this bond ends; 0 if there is none.
func (b *bondRepairState) retryAfter(r *repairRun, p plan.Plan, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	var first time.Duration
	consider := func(at time.Time) {
		if d := max(at.Sub(now), time.Millisecond); first == 0 || d < first {
			first = d
		}
	}
	for _, a := range p.Actions {
		if at := b.retryTime(r, a, now); now.Before(at) {
			consider(at)
		}
	}
	for i, part := range b.members {
		if !part.vfInfoMissingSince.IsZero() {
			// As long again as it has lasted: no event will come, and a PF may stay away for good.
			consider(now.Add(min(max(now.Sub(part.vfInfoMissingSince), b.timing.MinBackoff), b.timing.MaxBackoff)))
		}
		// A planned bounce has its own hold. To reconcile at once until that ends would be a busy loop.
		bouncing := slices.ContainsFunc(p.Actions, func(a plan.Action) bool { _, ok := a.(plan.Bounce); return ok && a.Subject() == i })
		noCarrierEnd := part.noCarrierSince.Add(b.timing.NoCarrierWait)
		if !part.noCarrierSince.IsZero() && (now.Before(noCarrierEnd) || !part.bounced && !bouncing) {
			consider(noCarrierEnd)
		}
	}
	return first
}
