package history

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// Applied takes in that an action was reported as done; the next Advance checks its effect. quiet: it is to be logged
// at debug level.
func (r *Run) Applied(a plan.Action, now time.Time) (quiet bool) {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	s := r.h.subject(a.Subject())
	r.applied = append(r.applied, a)
	// A bond that was lost or down has lost its addresses and routes, so no other writer insists on anything.
	if setting := plan.Contestable(a); setting != "" && !r.rec.Restoring {
		s.next(event{eventKind: restored, what: setting}, now, r.h.timing)
	}
	if _, ok := a.(plan.Bounce); ok {
		s.next(event{eventKind: bounced}, now, r.h.timing)
	}
	r.charge(a, now)
	return r.h.limited(a.Subject())
}

// Unverified ends the reconcile before the members that were put back into the bond are observed. One that is lost again
// by then was lost soon after its return.
func (r *Run) Unverified(now time.Time) {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	for _, a := range r.applied {
		if _, is := a.(plan.Enslave); is {
			r.h.subject(a.Subject()).next(event{eventKind: returned}, now, r.h.timing)
		}
	}
}

// Failure is what an action that failed means.
type Failure struct {
	// Stale: something changed between the observation and the action.
	Stale bool
	// Overtaken: it is stale and not counted; the next observation shows what changed.
	Overtaken bool
	// BestEffort: the action is tried only once, so its failure does not count.
	BestEffort bool
	// Wait is how long its kind is not tried; 0 if the failure does not count.
	Wait time.Duration
	// Times is the number of failures in a row.
	Times int
	// Quiet: it is to be logged at debug level. Failures in a row are logged when their number has doubled.
	Quiet bool
}

// staleTries is how often in a row a plan may be overtaken before that counts as failed. Once is normal; again and
// again means a link that flickers, or a pod that keeps something in the way, such as another link's name.
const staleTries = 2

// Failed takes in that an action failed.
func (r *Run) Failed(a plan.Action, err error, now time.Time) Failure {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	s, kind := r.h.subject(a.Subject()), plan.Kind(a)
	f := Failure{Stale: errors.Is(err, bond.ErrStale) || errors.Is(err, bond.ErrGone)}
	if f.Stale {
		s.next(event{eventKind: overtaken, what: kind}, now, r.h.timing)
		f.Overtaken = s.retries[kind].staleInARow <= staleTries
	}
	if f.BestEffort = bestEffort(a); f.Overtaken || f.BestEffort {
		return f
	}
	s.next(event{eventKind: failed, what: kind, err: err}, now, r.h.timing)
	f.Times = s.retries[kind].failures
	f.Wait = s.retries[kind].retryAt.Sub(now)
	f.Quiet = !doubled(f.Times) || errors.Is(err, bond.ErrInUse) // that a card is in use is normal
	return f
}

// doubled reports whether the nth time of something is logged.
func doubled(n int) bool { return n&(n-1) == 0 }

// bestEffort reports whether an action is tried only once.
func bestEffort(a plan.Action) bool {
	_, ok := a.(plan.Announce)
	return ok
}

// Ineffective is the error of an action that was reported as done and is planned again.
type Ineffective struct {
	Action plan.Action
	Found  string
	Wait   time.Duration
	Times  int  // in a row
	Quiet  bool // to be logged at debug level, as in Failure
}

func (e *Ineffective) Error() string {
	return fmt.Sprintf("%s: it was reported as done and had no effect, or was undone at once: %s", e.Action, e.Found)
}

// confirm compares the actions that were reported as done with the plan that was made after them. Those that are
// planned again count as failed, and not as restored: no other writer need be there. What was done to addresses and
// routes is compared when they are read. Old failures are dropped.
func (r *Run) confirm(p *plan.Plan, unread bool, now time.Time) []*Ineffective {
	var all []*Ineffective
	var later []plan.Action
	for _, a := range r.applied {
		if unread && inNetwork(a) {
			later = append(later, a)
			continue
		}
		s, kind := r.h.subject(a.Subject()), plan.Kind(a)
		i := slices.IndexFunc(p.Actions, func(again plan.Action) bool {
			return again.Subject() == a.Subject() && plan.Kind(again) == kind && again.String() == a.String()
		})
		if i < 0 || bestEffort(a) {
			s.next(event{eventKind: succeeded, what: kind}, now, r.h.timing)
			continue
		}
		e := &Ineffective{Action: a, Found: p.Cause(i)}
		s.next(event{eventKind: failed, what: kind, err: e}, now, r.h.timing)
		s.next(event{eventKind: unrestored, what: plan.Contestable(a)}, now, r.h.timing)
		e.Wait, e.Times = s.retries[kind].retryAt.Sub(now), s.retries[kind].failures
		e.Quiet = !doubled(e.Times)
		all = append(all, e)
	}
	r.applied = later
	for _, s := range r.h.subjects(r.rec) {
		for kind, t := range s.retries {
			if now.Sub(t.last) > 2*r.h.timing.MaxBackoff {
				s.next(event{eventKind: succeeded, what: kind}, now, r.h.timing)
			}
		}
	}
	return all
}

// inNetwork reports whether the effect of an action is seen in the addresses and routes.
func inNetwork(a plan.Action) bool {
	switch a.(type) {
	case plan.AddAddress, plan.DelAddress, plan.AddRoute, plan.DeleteRoute:
		return true
	}
	return false
}

// persistentFailures is how often in a row, over some three seconds, an action may be rejected, and not as busy, before
// the bond is reported as stuck.
const persistentFailures = 5

// AllBlocked reports whether nothing of the plan can be done until a user does something. Retries continue. A nil
// History has none.
func (h *History) AllBlocked(actions []plan.Action) bool {
	if h == nil {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(plan.Unblocked(actions, func(a plan.Action) bool {
		t := h.subject(a.Subject()).retries[plan.Kind(a)]
		return t.failures >= persistentFailures && !errors.Is(t.err, bond.ErrBusy)
	})) == 0
}

// LastError is what keeps member i, or the bond, from being repaired as planned; empty if nothing is known.
func (h *History) LastError(actions []plan.Action, i int) string {
	if h == nil {
		return ""
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.subject(i)
	for _, a := range actions {
		if err := s.retries[plan.Kind(a)].err; a.Subject() == i && err != nil {
			return err.Error()
		}
	}
	if s.damped() {
		until := s.dampedUntil.UTC().Format(time.TimeOnly)
		return "it keeps being lost again right after its return and is held back until " + until + " UTC"
	}
	return ""
}
