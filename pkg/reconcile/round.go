package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile/history"
)

// maxRounds bounds the rounds of observing and acting in one call. The planner needs at most six from any state; more
// means that another writer changes the bond at the same time.
const maxRounds = 16

// convergence is how converge begins.
type convergence struct {
	// firstDEL is plan.Input's.
	firstDEL bool
	// observed is for the first round; nil if the kernel is still to be observed.
	observed *bond.Observed
	// othersWait is Repair's; nil for Converge.
	othersWait func() bool
}

// converge works under the bond's lock.
func (e *Engine) converge(ctx context.Context, rec *bond.Record, c convergence) (Outcome, error) {
	defer e.kernel.Hold(rec.Sandbox)()
	h := e.histories.Of(rec.Key)
	run := h.Begin(rec)
	out := Outcome{Record: rec}
	var firstErr error
	var losses []string
	again := false
	for range maxRounds {
		r, err := e.observeAndPlan(ctx, rec, run, c)
		c.observed = nil
		if errors.Is(err, errDeleted) {
			e.yieldToDelete(&out, h)
			return out, firstErr
		}
		if err != nil {
			return out, errors.Join(firstErr, err)
		}
		h.SetEvents(r.events, r.observed.Bond != nil && r.observed.Bond.Unread == "")
		now := e.now()
		unsaved := cmp.Or(r.saveError, e.saveLimits(rec, &r))
		out.found(&r, again, now)
		out.Observed, out.Plan = r.observed, r.plan
		losses = lossesOf(rec, &r.Result, losses)
		out.Status = statusOf(rec, &r.observed, r.plan, h)
		out.Status.Losses = losses
		out.RetryAfter = sooner(sooner(r.RetryAfter, setupRetry(rec, now)), unreadRetry(&r.observed))
		out.Poll = pollOf(rec, &r.observed, e.timing.PollVFs)
		out.lease(rec, &r.observed, now)
		if again = !again && r.unreadInVain(e.timing.MinBackoff); again {
			firstErr = cmp.Or(firstErr, noEffect(rec, &r), unsaved)
			continue
		}
		if len(r.Ready) == 0 {
			unsaved = errors.Join(unsaved, e.announceDue(ctx, rec, &r.observed))
		}
		if len(r.plan.Actions) == 0 { // what failed first was done in a later round
			return out, unsaved
		}
		firstErr = cmp.Or(firstErr, noEffect(rec, &r), unsaved)
		if len(r.Ready) == 0 {
			return out, firstErr
		}
		applied, err := e.apply(ctx, rec, r.Ready, run)
		out.Applied = append(out.Applied, applied...)
		if errors.Is(err, errDeleted) {
			e.yieldToDelete(&out, h)
			return out, firstErr
		}
		firstErr = cmp.Or(firstErr, err)
		if ctx.Err() != nil {
			return out, errors.Join(firstErr, ctx.Err())
		}
		if c.othersWait != nil && firstErr == nil && onlyVerificationLeft(rec, &r, applied) && c.othersWait() {
			run.Unverified(e.now())
			out.Unverified = true
			return out, nil
		}
	}
	out.RetryAfter = e.timing.MinBackoff
	return out, errors.Join(firstErr, notSettled(rec, out.Plan.Actions))
}

// notSettled is the error of a reconcile that ends before its plan is empty.
func notSettled(rec *bond.Record, last []plan.Action) error {
	return fmt.Errorf("bond %s of pod %s: not settled after %d rounds; does something else change it? last plan: %v",
		rec.BondName(), rec.Pod, maxRounds, last)
}

// onlyVerificationLeft reports whether a member is in the bond again and all changes were made that were planned from an
// observation of all links. Of a new bond nothing was observed yet, and one that was down may have lost its routes.
func onlyVerificationLeft(rec *bond.Record, r *round, applied []plan.Action) bool {
	b := r.observed.Bond
	if rec.Deleted() || rec.Restoring || b == nil || b.Unread != "" && !b.ReadLater || len(applied) < len(r.plan.Actions) {
		return false
	}
	return slices.ContainsFunc(applied, func(a plan.Action) bool { _, is := a.(plan.Enslave); return is })
}

// round is what was observed and planned in one round.
type round struct {
	observed bond.Observed
	plan     plan.Plan
	history.Result
	// events are those of before the observation.
	events history.Events
	// saveError is why the record, which changed, is not saved.
	saveError error
}

// found takes in what a round found. What is found after changes is a consequence. again: the round before left the
// addresses and routes unread in vain.
func (o *Outcome) found(r *round, again bool, now time.Time) {
	if o.FoundAt.IsZero() || again && len(o.Applied) == 0 {
		o.Found, o.FoundAt = append(o.Found, r.newFindings()...), now
	}
}

// newFindings are those of which the last reconcile had none. That the network is read later is none.
func (r *round) newFindings() []plan.Code {
	if r.observed.Bond == nil || !r.observed.Bond.ReadLater {
		return r.New
	}
	return slices.DeleteFunc(r.New, func(c plan.Code) bool { return c == plan.Unread })
}

// unreadInVain reports whether addresses and routes were left unread so that links are repaired first, and no link can be
// repaired now or soon.
func (r *round) unreadInVain(soon time.Duration) bool {
	waits := r.RetryAfter > 0 && r.RetryAfter < soon
	return len(r.Ready) == 0 && !waits && r.observed.Bond != nil && r.observed.Bond.ReadLater
}

// observeAndPlan observes the bond, plans, and brings the record up to date. It saves only what changed, so that a
// reconcile of a healthy bond writes nothing. ADD saves at its end what is found again if it is killed before, but the
// bond's ifindex when it has created the bond.
func (e *Engine) observeAndPlan(ctx context.Context, rec *bond.Record, run *history.Run, c convergence) (r round, err error) {
	evidence := e.setupEvidence(rec, e.now())
	if r.observed, r.events, err = e.observeRound(ctx, rec, c.observed); err != nil {
		return r, fmt.Errorf("observe bond %s of pod %s: %w", rec.BondName(), rec.Pod, err)
	}
	obs, now := &r.observed, e.now()
	changed := e.assess(rec, obs, evidence, now) || e.histories.Of(rec.Key).Unsaved()
	in := e.input(rec, obs, run.Observe(obs, now), c.firstDEL)
	r.plan = plan.Diff(in)
	if adopted := run.Adopt(obs, r.plan.Actions, now); len(adopted) > 0 {
		e.logAdopted(rec, adopted)
		changed = true
		r.plan = plan.Diff(in)
	}
	if markLease(rec, r.plan) {
		changed = true
		r.plan = plan.Diff(in)
	}
	changed = recordFound(rec, obs, r.plan) || changed
	r.Result = run.Advance(obs, r.plan, e.now())
	e.logResult(rec, &r.Result)
	if !rec.Deleted() && obs.SandboxAlive && (changed || r.Changed) {
		if err = e.save(rec); err != nil {
			err = fmt.Errorf("bond %s of pod %s: note its state: %w", rec.BondName(), rec.Pod, err)
			if !repairsUnsaved(rec) {
				return r, err
			}
			r.saveError = err
		}
		r.LimitsChanged = false // they are saved, too, or tried again
	}
	e.countResult(&r.Result)
	return r, nil
}

// repairsUnsaved reports whether a bond is repaired although its record cannot be saved (a full disk, for example): a pod
// without network is worse than a loss that is not recorded. An ADD fails instead, and a lease is confirmed by its record.
func repairsUnsaved(rec *bond.Record) bool {
	return rec.Phase == bond.PhaseReady && !rec.WithoutLease()
}

// observeRound observes the bond, unless it was observed already, and finds whether it was down. events are those that
// need not be considered again: those of before the observation. Links are read before addresses and routes. If the bond
// was down in between, they do not belong together, so all is observed again.
func (e *Engine) observeRound(ctx context.Context, rec *bond.Record, observed *bond.Observed) (obs bond.Observed, events history.Events, err error) {
	if observed != nil {
		obs = *observed
		e.wasDown(ctx, rec, &obs)
		considered, _ := e.histories.Of(rec.Key).Events()
		return obs, considered, nil
	}
	for range maxObservations {
		events = e.eventsOf(rec.Key)
		if obs, err = e.observe(ctx, rec); err != nil || e.wasDown(ctx, rec, &obs) == events {
			break
		}
	}
	return obs, events, err
}

// eventsOf returns the events until now.
func (e *Engine) eventsOf(k bond.Key) (now history.Events) {
	if e.downs != nil {
		now = history.Events{Downs: e.downs(k), Missed: e.eventsMissed()}
	}
	return now
}

// wasDown sets WasDown of an observed bond if there were more events than those considered. Where events are missing,
// because the process is new or they were lost, the loss of all routes shows it. It returns the events until now.
func (e *Engine) wasDown(ctx context.Context, rec *bond.Record, obs *bond.Observed) history.Events {
	if plan.NetworkMissing(rec, obs) { // the event may be on its way
		drain, cancel := context.WithTimeout(ctx, maxEventDelay)
		e.eventsDrained(drain)
		cancel()
	}
	now := e.eventsOf(rec.Key)
	considered, known := e.histories.Of(rec.Key).Events()
	unseen := e.downs != nil && (!known || now.Missed != considered.Missed)
	if obs.Bond != nil {
		obs.Bond.WasDown = now.Downs != considered.Downs || unseen && plan.AllRoutesMissing(rec, obs)
	}
	return now
}

// maxObservations bounds how often a bond that is set down again and again is observed in a round.
const maxObservations = 3

// maxEventDelay bounds how long a reconcile waits for the events that preceded its observation.
const maxEventDelay = time.Second

// recordFound records what was found of the bond for later reconciles, other than losses. It reports whether the record
// changed.
func recordFound(rec *bond.Record, obs *bond.Observed, p plan.Plan) (changed bool) {
	if rec.Deleted() || !obs.SandboxAlive {
		return false
	}
	if obs.Bond != nil && rec.BondIndex != obs.Bond.Index {
		rec.BondIndex, changed = obs.Bond.Index, rec.Phase != bond.PhaseAdding
	}
	changed = recordSriovCNI(rec, obs) || changed
	// Where the kernel does not announce by itself, the switches still know where the lost members were.
	lostCarrier := obs.Bond != nil && !obs.Bond.Carrier && len(rec.Repairs.Open) > 0
	if !rec.AnnounceDue && (p.AnnounceLater || lostCarrier) {
		rec.AnnounceDue, changed = true, true
	}
	if plan.Restored(rec, obs, p) {
		plan.Learn(rec, obs) // what could not be known before
		changed = true
	}
	return plan.RecordPFSettings(rec, obs) || changed
}

// announceDue announces the addresses of a bond that has got its carrier. Plugin and agent do so under the bond's lock,
// whichever comes first.
func (e *Engine) announceDue(ctx context.Context, rec *bond.Record, obs *bond.Observed) error {
	a, due := plan.DueAnnouncement(rec, obs)
	if !due || e.deletedMeanwhile(rec) {
		return nil
	}
	if len(a.Addresses) > 0 {
		if err := e.kernel.Apply(ctx, rec, a); err != nil {
			e.logFor(rec).Warn("cannot announce addresses to neighbours", Losses(rec.AnnouncedLosses()...), zap.Error(err))
		} else {
			e.logFor(rec).Info("applied", Losses(rec.AnnouncedLosses()...), zap.Stringer("action", a))
		}
	}
	rec.AnnounceDue = false
	if err := e.save(rec); err != nil {
		return fmt.Errorf("bond %s of pod %s: note its announcement: %w", rec.BondName(), rec.Pod, err)
	}
	return nil
}

// save saves a record that a reconcile has changed. If it cannot, the next reconcile of this process begins with it.
func (e *Engine) save(rec *bond.Record) error {
	err := e.store.Save(rec)
	switch h := e.histories.Of(rec.Key); {
	case err == nil:
		h.SetSaved(rec.Updated)
	case repairsUnsaved(rec):
		h.SetUnsaved(rec)
	}
	return err
}

// Saved reports whether a record is as the last reconcile saved it. That it changed is then no reason for another one.
func (e *Engine) Saved(rec *bond.Record) bool {
	return !rec.Deleted() && e.histories.Of(rec.Key).Saved().Equal(rec.Updated)
}

// saveLimits saves the record if only its list of limited repairs changed. Repairs do not wait for that.
func (e *Engine) saveLimits(rec *bond.Record, r *round) error {
	if !r.LimitsChanged {
		return nil
	}
	if err := e.save(rec); err != nil {
		return fmt.Errorf("bond %s of pod %s: note which repairs are limited: %w", rec.BondName(), rec.Pod, err)
	}
	return nil
}

// unreadRetry returns when to read addresses and routes that were not read: there is no event for it.
func unreadRetry(obs *bond.Observed) time.Duration {
	if obs.Bond == nil || obs.Bond.Unread == "" {
		return 0
	}
	return time.Second
}

// sooner returns the shorter wait; 0 means never.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// apply makes the changes in order. After a failure the changes that depend on it wait for another round.
func (e *Engine) apply(ctx context.Context, rec *bond.Record, actions []plan.Action, run *history.Run) (
	done []plan.Action, firstErr error,
) {
	var left []plan.Action
	for _, a := range actions {
		if ctx.Err() != nil || plan.Blocked(a, left) || plan.Pointless(a, done) {
			left = append(left, a)
			continue
		}
		if e.deletedMeanwhile(rec) {
			return done, errDeleted
		}
		log := e.logOf(rec, a.Subject())
		err := e.applyOne(ctx, rec, a)
		if err == nil {
			done = append(done, a)
			level := quietly(run.Applied(a, e.now()), zap.InfoLevel)
			log.Log(level, "applied", zap.Stringer("action", a))
			continue
		}
		left = append(left, a)
		e.countFailure(a, err)
		failure := run.Failed(a, err, e.now())
		if failure.Overtaken {
			log.Info("plan is stale", zap.Stringer("action", a), zap.Error(err))
			continue
		}
		if failure.BestEffort {
			log.Warn("cannot announce addresses to neighbours", zap.Error(err))
			continue
		}
		log.Log(quietly(failure.Quiet, zap.WarnLevel), "action failed",
			zap.Stringer("action", a), zap.Error(err), zap.Int("times", failure.Times), zap.Duration("retryAfter", failure.Wait))
		if firstErr == nil && !failure.Stale {
			firstErr = fmt.Errorf("bond %s of pod %s: %w", rec.BondName(), rec.Pod, err)
		}
	}
	return done, firstErr
}

// noEffect is the error of actions that were reported as done and had no effect.
func noEffect(rec *bond.Record, r *round) error {
	if len(r.Ineffective) == 0 {
		return nil
	}
	return fmt.Errorf("bond %s of pod %s: %w", rec.BondName(), rec.Pod, r.Ineffective[0])
}
