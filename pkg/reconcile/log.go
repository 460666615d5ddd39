package reconcile

import (
	"slices"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile/history"
)

// logFor adds the fields that every log line about a bond has.
func (e *Engine) logFor(rec *bond.Record) *zap.Logger {
	return e.log.With(zap.String("bond", rec.Key.String()), zap.String("pod", rec.Pod.String()), zap.String("netns", rec.Sandbox.Path))
}

// logOf is logFor with the loss of a member, or of the bond. What is done about one that is not lost itself follows
// from the losses of others: another member is made the active one, for example.
func (e *Engine) logOf(rec *bond.Record, member int) *zap.Logger {
	name := ""
	if member != plan.OnBond {
		name = rec.Members[member].Name
	}
	if id := rec.LossOf(name); id != "" {
		return e.logFor(rec).With(Losses(id))
	}
	return e.logFor(rec).With(Losses(rec.LossIDs()...))
}

// Losses is the field of log lines about losses: their IDs, separated by commas.
func Losses(ids ...string) zap.Field {
	if text := strings.Join(ids, ","); text != "" {
		return zap.String("loss", text)
	}
	return zap.Skip()
}

// lossesOf returns the IDs of the losses that the status of a bond follows from, after a round with this result.
// before has those of the rounds before it.
func lossesOf(rec *bond.Record, res *history.Result, before []string) []string {
	ids := append(before, rec.LossIDs()...)
	for _, l := range res.Lost {
		ids = append(ids, l.ID)
	}
	for _, r := range res.Recovered {
		ids = append(ids, r.ID)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	return slices.DeleteFunc(ids, func(id string) bool { return id == "" })
}

// quietly is the debug level for what is logged quietly.
func quietly(quiet bool, level zapcore.Level) zapcore.Level {
	if quiet {
		return zap.DebugLevel
	}
	return level
}

func (e *Engine) logAdopted(rec *bond.Record, adopted []bond.Contest) {
	for _, c := range adopted {
		e.logFor(rec).Warn("contested setting adopted", zap.String("setting", c.Setting), zap.String("adopted", c.Adopted))
	}
}

// logResult logs losses and their ends, actions without effect, and limits.
func (e *Engine) logResult(rec *bond.Record, res *history.Result) {
	log := e.logFor(rec)
	for _, l := range res.Lost {
		level := quietly(l.Quiet, zap.WarnLevel)
		if l.Member == plan.OnBond {
			log.Log(level, "bond damaged", Losses(l.ID), zap.String("cause", string(l.Cause)), zap.String("found", l.Found))
		} else {
			log.Log(level, "member lost", Losses(l.ID), zap.String("member", rec.Members[l.Member].Name),
				zap.String("cause", string(l.Cause)), zap.String("found", l.Found))
		}
	}
	for _, r := range res.Recovered {
		level := quietly(r.Quiet, zap.InfoLevel)
		if r.Member == plan.OnBond {
			log.Log(level, "bond recovered", Losses(r.ID), zap.String("cause", r.Cause), zap.Duration("took", r.Took))
		} else {
			log.Log(level, "member recovered", Losses(r.ID), zap.String("member", rec.Members[r.Member].Name),
				zap.String("cause", r.Cause), zap.Duration("took", r.Took))
		}
	}
	for _, f := range res.Ineffective {
		e.logOf(rec, f.Action.Subject()).Log(quietly(f.Quiet, zap.WarnLevel), "action had no effect",
			zap.Stringer("action", f.Action), zap.String("found", f.Found), zap.Int("times", f.Times), zap.Duration("retryAfter", f.Wait))
	}
	for _, l := range res.Limited {
		log.Warn("repairs limited: another writer keeps undoing them",
			zap.String("what", l.What), zap.Int("repairs", l.Repairs))
	}
	for _, what := range res.Unlimited {
		log.Info("repairs no longer limited", zap.String("what", what))
	}
}
