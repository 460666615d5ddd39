package history

import (
	"slices"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// contestLimit is how often within contestWindow a requested setting is restored before its change is adopted.
const (
	contestLimit  = 3
	contestWindow = time.Minute
)

// maxContested bounds the record's list of contested settings; the oldest are dropped.
const maxContested = 16

// Adopt gives in to another writer that changed a requested setting back three times within a minute: its value becomes
// the desired one. It returns the settings that it adopted in the record, for which the caller has to plan again.
func (r *Run) Adopt(obs *bond.Observed, actions []plan.Action, now time.Time) (adopted []bond.Contest) {
	if r.rec.Phase != bond.PhaseReady || r.rec.Restoring || obs.Bond == nil {
		return nil
	}
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	for _, a := range actions {
		setting := plan.Contestable(a)
		if setting == "" || len(within(r.h.subject(a.Subject()).restored[setting], now)) < contestLimit {
			continue
		}
		c := bond.Contest{Setting: setting, Adopted: plan.Adopt(r.rec, obs, a), At: now}
		others := slices.DeleteFunc(slices.Clone(r.rec.Contested), func(c bond.Contest) bool { return c.Setting == setting })
		r.rec.Contested = append(others[max(0, len(others)-maxContested+1):], c)
		adopted = append(adopted, c)
	}
	return adopted
}

// within returns the times within contestWindow.
func within(times []time.Time, now time.Time) []time.Time {
	return slices.DeleteFunc(slices.Clone(times), func(at time.Time) bool { return now.Sub(at) > contestWindow })
}
