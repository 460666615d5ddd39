package history

import (
	"errors"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// subject is the state of a member, or of the bond itself. Only next changes it; budgets are in budget.go.
type subject struct {
	// loss is the open loss; nil if there is none. The record has it, too: load and save copy it.
	loss *bond.Loss

	absentSince time.Time     // the member is in neither the pod nor the host; zero: it is in one of them
	absent      time.Duration // earlier absences during the open loss

	quiet       bool      // the last loss was reported at debug level
	returned    time.Time // when the last loss ended
	flaps       int       // losses soon after a return, in a row; damped from the second on
	dampedUntil time.Time
	unverified  bool // it has returned, which is still to be observed

	silentSince time.Time // no carrier, though one is expected; zero: it has one, or none is expected
	bounced     bool      // set down and up, and without carrier ever since

	// vfInfoMissingSince: the VF is in the host, but its PF does not list it.
	vfInfoMissingSince time.Time

	retries  map[string]retry       // by plan.Kind
	restored map[string][]time.Time // by setting, within contestWindow
	budgets  map[budgetKey]*budget
}

// retry is the state of a kind of action that failed.
type retry struct {
	failures    int // in a row
	staleInARow int // plans overtaken, in a row
	retryAt     time.Time
	last        time.Time // when it last failed
	err         error
}

func newSubject() *subject {
	return &subject{retries: map[string]retry{}, restored: map[string][]time.Time{}, budgets: map[budgetKey]*budget{}}
}

// event is what happens to a subject.
type event struct {
	eventKind
	what string // the kind of action, the setting, or the cause of a loss
	id   string // of a loss
	err  error
}

type eventKind string

const (
	carries     eventKind = "carries"      // it has carrier
	silent      eventKind = "silent"       // up and in the bond, without carrier, and its PF has one
	notExpected eventKind = "not expected" // no carrier, and none is expected
	vfListed    eventKind = "vf listed"    // by its PF, or it is not in the host
	vfMissing   eventKind = "vf missing"   // it is in the host, and its PF does not list it

	absent  eventKind = "absent"  // in neither the pod nor the host
	present eventKind = "present" // in one of them

	lost         eventKind = "lost"
	lostVF       eventKind = "lost vf"       // in a way that only the host can cause
	returned     eventKind = "returned"      // it was put back into the bond, which is still to be observed
	unrepairedVF eventKind = "unrepaired vf" // it is observed as still lost, or again, in a way that only the host can cause
	unrepaired   eventKind = "unrepaired"    // it is observed as still lost, or again, in another way
	repaired     eventKind = "repaired"

	bounced    eventKind = "bounced"
	restored   eventKind = "restored"   // a setting that another writer had changed
	unrestored eventKind = "unrestored" // that had no effect
	failed     eventKind = "failed"
	overtaken  eventKind = "overtaken" // the links changed between the observation and the action
	succeeded  eventKind = "succeeded"
)

// The bounds of the wait for a card: one that is in use by another process or worker, and one that cannot do it now.
const (
	maxInUseRetry = time.Second
	maxBusyRetry  = 2 * time.Second
)

// next changes the state after an event.
func (s *subject) next(e event, now time.Time, t Timing) {
	switch e.eventKind {
	case carries:
		s.silentSince, s.bounced = time.Time{}, false
		if now.Sub(s.returned) > t.FlapWindow {
			s.flaps = 0
		}
	case notExpected:
		s.silentSince = time.Time{}
	case silent:
		s.silentSince = firstOf(s.silentSince, now)
	case bounced: // a driver needs some time, so it gets as long again
		s.silentSince, s.bounced = time.Time{}, true
	case vfListed:
		s.vfInfoMissingSince = time.Time{}
	case vfMissing:
		s.vfInfoMissingSince = firstOf(s.vfInfoMissingSince, now)

	case absent:
		s.absentSince = firstOf(s.absentSince, now)
	case present:
		s.absent, s.absentSince = s.absentFor(now), time.Time{}

	case lost:
		s.open(e, now)
	case lostVF:
		s.open(e, now)
		s.flap(now, t)
	case returned:
		s.unverified, s.returned = true, now
	case unrepairedVF:
		if s.unverified {
			s.flap(now, t)
		}
		s.unverified = false
	case unrepaired:
		s.unverified = false
	case repaired:
		s.loss, s.returned, s.unverified = nil, now, false

	case failed:
		r := s.retries[e.what]
		r.failures, r.err, r.last = r.failures+1, e.err, now
		r.retryAt = now.Add(waitAfter(e.err, t.backoff(r.failures)))
		s.retries[e.what] = r
	case overtaken:
		r := s.retries[e.what]
		r.staleInARow, r.last = r.staleInARow+1, now
		s.retries[e.what] = r
	case succeeded:
		delete(s.retries, e.what)
	case restored:
		s.restored[e.what] = append(within(s.restored[e.what], now), now)
	case unrestored:
		if all := s.restored[e.what]; len(all) > 0 {
			s.restored[e.what] = all[:len(all)-1]
		}
	}
}

func (s *subject) open(e event, now time.Time) {
	s.loss = &bond.Loss{ID: e.id, Cause: e.what, Since: now}
	s.absent = 0
	if !s.absentSince.IsZero() {
		s.absentSince = now
	}
}

// flap counts a loss soon after a return.
func (s *subject) flap(now time.Time, t Timing) {
	if s.returned.IsZero() || now.Sub(s.returned) >= t.FlapWindow {
		s.flaps = 0
	} else if s.flaps++; s.flaps > 1 {
		s.dampedUntil = now.Add(t.backoff(s.flaps + 1))
	}
}

// absentFor returns how long the member was absent during the open loss.
func (s *subject) absentFor(now time.Time) time.Duration {
	if s.absentSince.IsZero() {
		return s.absent
	}
	return s.absent + now.Sub(s.absentSince)
}

func firstOf(since, now time.Time) time.Time {
	if since.IsZero() {
		return now
	}
	return since
}

// waitAfter bounds a wait by what caused it.
func waitAfter(err error, wait time.Duration) time.Duration {
	switch {
	case errors.Is(err, bond.ErrInUse):
		return min(wait, maxInUseRetry)
	case errors.Is(err, bond.ErrBusy):
		return min(wait, maxBusyRetry)
	}
	return wait
}

// load takes the persistent part of subject i from the record, and save puts it back. Of a loss that is new to this
// process the past absence is not known: one that began with it counts as having lasted until now.
func (s *subject) load(rec *bond.Record, i int) {
	known := s.loss
	s.loss = nil
	loss, open := rec.Repairs.Open[nameOf(rec, i)]
	if !open {
		return
	}
	s.loss = &loss
	if known != nil && known.Cause == loss.Cause && known.Since.Equal(loss.Since) {
		return
	}
	s.absent, s.absentSince = 0, time.Time{}
	if loss.Cause == string(plan.MemberLost) {
		s.absentSince = loss.Since
	}
}

func (s *subject) save(rec *bond.Record, i int) {
	name := nameOf(rec, i)
	if s.loss == nil {
		delete(rec.Repairs.Open, name)
		return
	}
	if rec.Repairs.Open == nil {
		rec.Repairs.Open = map[string]bond.Loss{}
	}
	rec.Repairs.Open[name] = *s.loss
}

// nameOf is a subject's name in the record's list of losses.
func nameOf(rec *bond.Record, i int) string {
	if i == plan.OnBond {
		return ""
	}
	return rec.Members[i].Name
}

// hint is what the planner gets to know of a member.
func (s *subject) hint(now time.Time, t Timing) plan.Hint {
	overdue := !s.silentSince.IsZero() && now.Sub(s.silentSince) >= t.NoCarrierWait
	return plan.Hint{Overdue: overdue, Bounced: overdue && s.bounced}
}

// damped reports whether the member keeps being lost right after its return.
func (s *subject) damped() bool { return s.flaps > 1 }
