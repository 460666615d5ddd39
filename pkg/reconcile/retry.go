package reconcile

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// actionKey is what fails and is retried by itself: one kind of action on one member or on the bond.
type actionKey struct {
	member int
	kind   string
	repair int // which repair of the bond it follows; 0 where that makes no difference
}

func keyOf(a plan.Action) actionKey { return actionKey{member: a.Subject(), kind: plan.Kind(a)} }

// retryState is the state of an action that failed.
type retryState struct {
	failures    int // in a row
	staleInARow int // plans overtaken, in a row
	retryAt     time.Time
	last        time.Time // when it last failed
	err         error
}

// The bounds of the wait for a card: one that is in use by another process or worker, and one that cannot do it now.
const (
	maxInUseRetry = time.Second
	maxBusyRetry  = 2 * time.Second
)

func (b *bondRepairState) retry(a plan.Action) *retryState {
	s := keyOf(a)
	t := b.retries[s]
	if t == nil {
		t = &retryState{}
		b.retries[s] = t
	}
	return t
}

// retryTime returns when an action may be tried: when its member is not held back, after its own pause, and within its budget.
func (b *bondRepairState) retryTime(r *repairRun, a plan.Action, now time.Time) time.Time {
	hold := b.member(a.Subject()).retryAt
	if at := b.budgetTime(r, a, now); at.After(hold) {
		hold = at
	}
	if t := b.retries[keyOf(a)]; t != nil && t.retryAt.After(hold) {
		return t.retryAt
	}
	return hold
}

// ready returns the actions that need not wait, nor depend on one that has to.
func (b *bondRepairState) ready(r *repairRun, actions []plan.Action, now time.Time) []plan.Action {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s, t := range b.retries { // old ones are removed
		if now.Sub(t.last) > 2*b.timing.MaxBackoff {
			delete(b.retries, s)
		}
	}
	return plan.Unblocked(actions, func(a plan.Action) bool { return now.Before(b.retryTime(r, a, now)) })
}

// applied records that an action was reported as done; confirm checks it. afterLoss: the bond was lost or
// down, which takes its addresses and routes, so no other writer insists on anything.
func (b *bondRepairState) applied(a plan.Action, afterLoss bool, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if setting := plan.Contestable(a); setting != "" && !afterLoss {
		b.restored[setting] = append(lastMinute(b.restored[setting], now), now)
	}
	if _, ok := a.(plan.Bounce); ok {
		// It gets as long again to help: a driver needs some time.
		p := b.member(a.Subject())
		p.bounced, p.noCarrierSince = true, time.Time{}
	}
}

// failed notes that an action failed, and returns how long its kind is not tried.
func (b *bondRepairState) failed(a plan.Action, err error, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.retry(a)
	t.failures++
	t.err, t.last = err, now
	wait := b.timing.backoff(t.failures)
	switch {
	case errors.Is(err, bond.ErrInUse):
		wait = min(wait, maxInUseRetry)
	case errors.Is(err, bond.ErrBusy):
		wait = min(wait, maxBusyRetry)
	}
	t.retryAt = now.Add(wait)
	return wait
}

// failureLevel is the level of the log line about a failure. Failures in a row are logged when their number has doubled.
func (b *bondRepairState) failureLevel(a plan.Action, err error) zapcore.Level {
	if errors.Is(err, bond.ErrInUse) { // that a card is in use is no failure worth a warning
		return zap.DebugLevel
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := b.retry(a).failures; n&(n-1) != 0 {
		return zap.DebugLevel
	}
	return zap.WarnLevel
}

// confirm compares the actions that were reported as done with the plan that was made after them, and returns the errors of
// those that are planned again. They count as failed, and not as restored: no other writer need be there.
func (b *bondRepairState) confirm(done []plan.Action, p *plan.Plan, now time.Time) []*ineffective {
	var failed []*ineffective
	for _, a := range done {
		i := slices.IndexFunc(p.Actions, func(again plan.Action) bool { return keyOf(again) == keyOf(a) && again.String() == a.String() })
		if i < 0 || plan.Kind(a) == announceKind {
			b.succeeded(a)
			continue
		}
		e := &ineffective{action: a, found: p.Cause(i)}
		e.wait, e.first = b.failed(a, e, now), b.unrestored(a)
		failed = append(failed, e)
	}
	return failed
}

var announceKind = plan.Kind(plan.Announce{})

// ineffective is the error of an action that was reported as done and is planned again.
type ineffective struct {
	action plan.Action
	found  string
	wait   time.Duration
	first  bool // in a row
}

func (e *ineffective) Error() string {
	return fmt.Sprintf("%s: it was reported as done and had no effect, or was undone at once: %s", e.action, e.found)
}

// succeeded ends the back-off of an action's own kind.
func (b *bondRepairState) succeeded(a plan.Action) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.retries, keyOf(a))
}

// unrestored takes back that a setting was restored, and reports whether it is the first time in a row.
func (b *bondRepairState) unrestored(a plan.Action) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if all := b.restored[plan.Contestable(a)]; len(all) > 0 {
		b.restored[plan.Contestable(a)] = all[:len(all)-1]
	}
	return b.retry(a).failures == 1
}

// staleTries is how often in a row a plan may be overtaken without being counted as failed.
const staleTries = 2

// staleAgain notes a plan that was stale, and reports whether it counts as failed. Once is normal; over and over means a link
// that flickers, or a pod that keeps something in the way, such as another link's name.
func (b *bondRepairState) staleAgain(a plan.Action, now time.Time) (failed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.retry(a)
	t.last = now
	t.staleInARow++
	return t.staleInARow > staleTries
}

// persistentFailures is how often in a row, over some three seconds, an action may be refused, and not as busy,
// before a person is called.
const persistentFailures = 5

// persistentError reports whether the kernel refuses an action, and time alone will not change that.
func (b *bondRepairState) persistentError(a plan.Action) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.retries[keyOf(a)]
	return t != nil && t.failures >= persistentFailures && !errors.Is(t.err, bond.ErrBusy)
}

// allBlocked reports whether nothing of the plan can be done until a user does something. Retries continue.
func (b *bondRepairState) allBlocked(actions []plan.Action) bool {
	return b != nil && len(plan.Unblocked(actions, b.persistentError)) == 0
}

// lastError is the error that keeps member i, or the bond, from being repaired as planned; empty if none is known.
func (b *bondRepairState) lastError(actions []plan.Action, i int) string {
	if b == nil {
		return ""
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range actions {
		if t := b.retries[keyOf(a)]; a.Subject() == i && t != nil && t.err != nil {
			return t.err.Error()
		}
	}
	if p := b.member(i); p.flaps > 1 {
		return "it keeps being lost again right after its return and is held back until " + p.retryAt.UTC().Format(time.TimeOnly) + " UTC"
	}
	return ""
}
