package history

import (
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// Set has the histories of all bonds. It is safe for concurrent use.
type Set struct {
	timing Timing
	mu     sync.Mutex
	bonds  map[bond.Key]*History
}

// New returns an empty Set.
func New(t Timing) *Set {
	return &Set{timing: t.WithDefaults(), bonds: map[bond.Key]*History{}}
}

// Of returns the history of a bond.
func (s *Set) Of(k bond.Key) *History {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.bonds[k]
	if h == nil {
		h = &History{timing: s.timing, members: map[int]*subject{}}
		s.bonds[k] = h
	}
	return h
}

// Forget drops what is not in the bond's record. It returns the losses that were open in its last reconcile.
func (s *Set) Forget(k bond.Key) (open []Lost) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.bonds[k]; h != nil {
		open = h.openLosses()
	}
	delete(s.bonds, k)
	return open
}

func (h *History) openLosses() (open []Lost) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, i := range slices.Sorted(maps.Keys(h.members)) {
		if loss := h.members[i].loss; loss != nil {
			open = append(open, Lost{Member: i, Cause: plan.Code(loss.Cause)})
		}
	}
	return open
}

// History is the repair history of one bond. It is safe for concurrent use.
type History struct {
	timing  Timing
	mu      sync.Mutex
	members map[int]*subject // by member index and plan.OnBond
	found   map[found]bool   // by the last plan
	events  Events
	known   bool // events.Missed was set
	saved   time.Time
	// unsaved is the record that could not be saved; nil if it was. stored is bond.Record.Updated of the stored one.
	unsaved *bond.Record
	stored  time.Time
}

// Events are the numbers of events that showed the bond down, and of times when events may have been lost.
type Events struct{ Downs, Missed uint64 }

// Events returns those that have been considered. known is false while it was never considered whether any were missed.
func (h *History) Events() (e Events, known bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.events, h.known
}

// SetEvents notes which events have been considered. complete: addresses and routes were read, so that missed ones were,
// too.
func (h *History) SetEvents(e Events, complete bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if complete {
		h.known = true
	} else {
		e.Missed = h.events.Missed
	}
	h.events = e
}

// Saved returns the last value of SetSaved; the zero time at first.
func (h *History) Saved() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.saved
}

// SetSaved notes that a reconcile saved the record at that time (bond.Record.Updated).
func (h *History) SetSaved(at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.saved, h.stored, h.unsaved = at, at, nil
}

// SetUnsaved notes that a reconcile could not save the record.
func (h *History) SetUnsaved(rec *bond.Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unsaved = rec.Clone()
}

// Unsaved reports whether the record is still to be saved.
func (h *History) Unsaved() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.unsaved != nil
}

// Latest returns the record with which a reconcile begins: the one that the last reconcile could not save, unless the
// loaded one has changed since.
func (h *History) Latest(loaded *bond.Record) *bond.Record {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.unsaved != nil && h.stored.Equal(loaded.Updated) && !loaded.Deleted() && loaded.SameAdd(h.unsaved) {
		return h.unsaved.Clone()
	}
	h.unsaved, h.stored = nil, loaded.Updated
	return loaded
}

// found is a finding without its text.
type found struct {
	member int
	code   plan.Code
}

func (h *History) subject(i int) *subject {
	s := h.members[i]
	if s == nil {
		s = newSubject()
		h.members[i] = s
	}
	return s
}

// subjects are the bond and the members of rec.
func (h *History) subjects(rec *bond.Record) iter.Seq2[int, *subject] {
	return func(yield func(int, *subject) bool) {
		for i := plan.OnBond; i < len(rec.Members); i++ {
			if !yield(i, h.subject(i)) {
				return
			}
		}
	}
}

// Hints returns the planner's input that depends on time, and changes nothing.
func (h *History) Hints(rec *bond.Record, obs *bond.Observed, now time.Time) []plan.Hint {
	return h.hints(rec, obs, now, func(i int) *subject { s := *h.subject(i); return &s })
}

// hints has the subjects observe, and returns their hints.
func (h *History) hints(rec *bond.Record, obs *bond.Observed, now time.Time, subjectOf func(i int) *subject) []plan.Hint {
	h.mu.Lock()
	defer h.mu.Unlock()
	hints := make([]plan.Hint, len(rec.Members))
	for i := range hints {
		s := subjectOf(i)
		s.observe(rec, obs, i, now, h.timing)
		hints[i] = s.hint(now, h.timing)
	}
	return hints
}

// Run is one reconcile of a bond. In each of its rounds the engine calls Observe, plans, calls Advance, and reports
// each action that it tries to Applied or Failed.
type Run struct {
	h   *History
	rec *bond.Record
	// applied has the actions that were reported as done since the last Advance.
	applied []plan.Action
	// hints are those of the last Observe, with which the plan was made.
	hints []plan.Hint
	spent spent
}

// Begin starts a reconcile. Only one may be under way per bond. The record is changed by Adopt and Advance.
func (h *History) Begin(rec *bond.Record) *Run {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, s := range h.subjects(rec) {
		s.load(rec, i)
	}
	return &Run{h: h, rec: rec, spent: newSpent(rec)}
}

// Observe takes in what was observed, and returns the planner's input that depends on time.
func (r *Run) Observe(obs *bond.Observed, now time.Time) []plan.Hint {
	r.hints = r.h.hints(r.rec, obs, now, r.h.subject)
	return r.hints
}

// observe makes events of what was observed of member i.
func (s *subject) observe(rec *bond.Record, obs *bond.Observed, i int, now time.Time, t Timing) {
	m := &obs.Members[i]
	carrier, vf := notExpected, vfListed
	switch {
	case m.Link.Carrier:
		carrier = carries
	case obs.Enslaved(i) && m.Link.Up && m.PF != nil && m.PF.Carrier && !m.PFSettings.HasLinkState(bond.LinkStateDisable):
		carrier = silent
	}
	// During sriov_enable (drivers/pci/iov.c) the PF lists a VF only when the last VF has been probed, without a link
	// event.
	if obs.SandboxAlive && !rec.Deleted() && rec.Members[i].VF != nil && m.Location == bond.InHost && m.PF == nil {
		vf = vfMissing
	}
	s.next(event{eventKind: carrier}, now, t)
	s.next(event{eventKind: vf}, now, t)
}

// Result is what follows from a plan.
type Result struct {
	// Changed: the record changed and is to be saved before anything is done.
	Changed bool
	// LimitsChanged: the record's list of limited repairs changed.
	LimitsChanged bool
	// Ready are the actions to try now.
	Ready []plan.Action
	// RetryAfter is when to reconcile again without an event; 0 means never.
	RetryAfter time.Duration

	// New has the codes of findings that the last plan did not have.
	New []plan.Code

	// To be logged.
	Lost        []Lost
	Recovered   []Recovered
	Ineffective []*Ineffective
	Limited     []Limit  // each time a limit begins, and once per minute
	Unlimited   []string // no longer limited
}

// Advance takes in the plan that was made of the observation.
func (r *Run) Advance(obs *bond.Observed, p plan.Plan, now time.Time) Result {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	unread := obs.Bond != nil && obs.Bond.Unread != ""
	res := Result{New: r.h.newFindings(p, unread)}
	if !r.rec.Deleted() && obs.SandboxAlive {
		r.losses(obs, p, now, &res)
	}
	res.Ineffective = r.confirm(&p, unread, now)
	res.Ready = plan.Unblocked(p.Actions, func(a plan.Action) bool { return now.Before(r.retryAt(a, now)) })
	r.limits(p.Actions, now, &res)
	res.RetryAfter = r.retryAfter(p.Actions, now)
	return res
}

// newFindings takes in the findings of a plan, and returns the codes of those that the last plan did not have. If
// addresses and routes are unread, what was found of the bond before is still known.
func (h *History) newFindings(p plan.Plan, unread bool) (codes []plan.Code) {
	now := map[found]bool{}
	for k := range h.found {
		if unread && k.member == plan.OnBond {
			now[k] = true
		}
	}
	for _, f := range p.Findings {
		k := found{f.Member, f.Code}
		if !now[k] && !h.found[k] {
			codes = append(codes, f.Code)
		}
		now[k] = true
	}
	h.found = now
	return codes
}

// retryAt returns when an action may be tried: not while its member is damped, its kind is backing off, or its budget
// is spent. Zero means now.
func (r *Run) retryAt(a plan.Action, now time.Time) time.Time {
	s := r.h.subject(a.Subject())
	at := s.dampedUntil
	for _, other := range []time.Time{s.retries[plan.Kind(a)].retryAt, r.budgetTime(a, now)} {
		if other.After(at) {
			at = other
		}
	}
	return at
}

// retryAfter returns when the first wait ends; 0 if there is none.
func (r *Run) retryAfter(actions []plan.Action, now time.Time) time.Duration {
	t := r.h.timing
	var first time.Duration
	consider := func(at time.Time) {
		if d := max(at.Sub(now), time.Millisecond); first == 0 || d < first {
			first = d
		}
	}
	for _, a := range actions {
		if at := r.retryAt(a, now); now.Before(at) {
			consider(at)
		}
	}
	for i, s := range r.h.subjects(r.rec) {
		if !s.vfInfoMissingSince.IsZero() {
			// A quarter as long again as it has lasted: no event will come, and a PF may stay away for good.
			consider(now.Add(min(max(now.Sub(s.vfInfoMissingSince), t.MinBackoff)/4, t.MaxBackoff)))
		}
		// The plan has taken in that the wait is over: it has a bounce, which has its own wait, or leaves the member alone.
		// To reconcile at once again would be a busy loop.
		overdue := i >= 0 && i < len(r.hints) && r.hints[i].Overdue
		silentEnd := s.silentSince.Add(t.NoCarrierWait)
		if !s.silentSince.IsZero() && (now.Before(silentEnd) || !s.bounced && !overdue) {
			consider(silentEnd)
		}
	}
	return first
}
