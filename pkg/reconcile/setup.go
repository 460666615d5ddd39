package reconcile

import (
	"time"

	"go.uber.org/zap"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// SetupEvidence reports, from memory, whether the set-up of a record's pod is complete. evidence is one of the
// bond.Evidence texts, or empty for "not yet". known is false if nothing can be found out now. It must not block.
type SetupEvidence func(*bond.Record) (evidence string, known bool)

// setupEvidence is called before the kernel is observed: the observation then contains everything that set-up did.
func (e *Engine) setupEvidence(rec *bond.Record, now time.Time) string {
	if !rec.InSetup() {
		return ""
	}
	evidence, known := "", false
	if e.setup != nil {
		evidence, known = e.setup(rec)
	}
	s := &rec.Setup
	last := s.Changed
	if last.Before(s.Returned) {
		last = s.Returned
	}
	switch {
	case evidence != "":
		return evidence
	case known:
		return ""
	case now.Sub(s.Returned) >= e.timing.SetupTimeout:
		return bond.EvidenceTimeout
	case now.Sub(last) >= e.timing.SetupQuiet:
		return bond.EvidenceQuiet
	}
	return ""
}

// assess updates the record with what was observed: losses, what other writers configured, and the end of set-up. It
// reports whether the record changed; the caller saves it.
func (e *Engine) assess(rec *bond.Record, obs *bond.Observed, evidence string, now time.Time) bool {
	if !obs.SandboxAlive {
		return false
	}
	changed := clockSetBack(rec, now)
	changed = plan.MarkLosses(rec, obs) || changed
	changes, learned := plan.Learn(rec, obs)
	changed = changed || learned
	if len(changes) > 0 {
		level := zap.DebugLevel // the pod may change its own things all the time
		if rec.InSetup() {
			rec.Setup.Changed, level = now, zap.InfoLevel
		}
		e.logFor(rec).Log(level, "configuration of other writers learned", zap.Strings("changes", changes))
	}
	// A bond that is lost at this moment hides what set-up did, and so do addresses and routes that are read later.
	hidden := rec.Restoring || obs.Bond != nil && obs.Bond.ReadLater
	if evidence != "" && rec.InSetup() && !hidden {
		rec.Setup.Complete, rec.Setup.Evidence, changed = now, evidence, true
		e.logFor(rec).Info("pod set-up complete", zap.String("evidence", evidence), zap.Int("addresses", len(rec.Addresses)), zap.Int("routes", len(rec.Routes)))
	}
	return changed
}

// clockSetBack lets the waits of a set-up begin again if they began in the future: they would last until then. It reports
// whether the record changed.
func clockSetBack(rec *bond.Record, now time.Time) (changed bool) {
	if s := &rec.Setup; rec.InSetup() && (s.Returned.After(now) || s.Changed.After(now)) {
		s.Returned, s.Changed = now, time.Time{}
		return true
	}
	return false
}

// setupRetry returns when to check for the end of set-up again: each second at first, then less often, because a pod
// whose image cannot be pulled stays in set-up for hours. The pause is shorter than the age at which package podsetup
// ignores a runtime's answer. A longer one would end set-up by its timeout although the runtime answers.
func setupRetry(rec *bond.Record, now time.Time) time.Duration {
	if !rec.InSetup() {
		return 0
	}
	return min(max(now.Sub(rec.Setup.Returned)/10, time.Second), 4*time.Second)
}
