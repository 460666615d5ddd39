package reconcile

import (
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// recordHistory keeps the record's own account of the bond: its ifindex, what is missing since
// when, what was repaired, and whether it has settled. It saves only what changed (changed: the caller did so), so
// that looking at a healthy bond writes nothing.
func (e *Engine) recordHistory(rec *bond.Record, obs *bond.Observed, p plan.Plan, state *bondRepairState, changed bool) error {
	if rec.Deleted() || !obs.SandboxAlive {
		return nil
	}
	now := e.now()
	if obs.Bond != nil && rec.BondIndex != obs.Bond.Index {
		rec.BondIndex, changed = obs.Bond.Index, true
	}
	changed = recordSriovCNI(rec, obs) || changed
	if plan.Restored(rec, obs, p) {
		plan.Learn(rec, obs) // what could not be known before
		changed = true
	}
	losses := lossesOf(rec, p)
	changed = e.openLosses(rec, losses, state, now) || changed
	changed = e.closeLosses(rec, losses, state, now) || changed
	if !rec.Settled && settled(rec, obs, p) {
		rec.Settled, changed = true, true
		delete(rec.Spec.Options, bond.OptActiveSlave) // a wish for the first moment, which has passed
	}
	if !changed {
		return nil
	}
	if err := e.store.Save(rec); err != nil {
		return fmt.Errorf("bond %s of pod %s: note its state: %w", rec.BondName(), rec.Pod, err)
	}
	return nil
}

// isLoss reports whether a finding is a loss that is repaired. A missing carrier keeps a loss open but opens none, unless the
// plan is to bounce the member: the cause may be the cable.
func isLoss(c plan.Code) bool {
	switch c {
	case plan.BondMissing, plan.MemberLost, plan.MemberInHost, plan.NotEnslaved, plan.Renamed, plan.LinkDown, plan.MACDiffers, plan.MTUDiffers, plan.SettingsChanged, plan.NotRestored:
		return true
	}
	return false
}

// unsettles reports whether after a loss the bond may have lost its recorded MAC: losses after which another member is
// active, except a failover.
func unsettles(c plan.Code) bool {
	switch c {
	case plan.BondMissing, plan.MemberLost, plan.MemberInHost, plan.NotEnslaved, plan.LinkDown, plan.NoCarrier, plan.MTUDiffers:
		return true
	}
	return false
}

// flaps reports whether a member that is lost again and again in this way is held back. What the pod can cause has budgets.
func flaps(c plan.Code) bool {
	return c == plan.MemberLost || c == plan.MemberInHost || c == plan.NoCarrier
}

// lossState summarises the findings of a member or of the bond.
type lossState struct {
	code   plan.Code // the first loss; empty if there is none
	text   string
	broken bool // anything is wrong, a missing carrier included
}

// lossesOf summarises the plan's findings by member name; the bond's have the name "".
func lossesOf(rec *bond.Record, p plan.Plan) map[string]lossState {
	states := map[string]lossState{}
	for _, f := range p.Findings {
		name := subjectName(rec, f.Member)
		s := states[name]
		s.broken = s.broken || f.Code != plan.UnknownMember && f.Code != plan.OwnerUnreadable
		if s.code == "" && isLoss(f.Code) {
			s.code, s.text = f.Code, f.Text
		}
		states[name] = s
	}
	for _, a := range p.Actions {
		if b, ok := a.(plan.Bounce); ok {
			states[subjectName(rec, b.Subject())] = lossState{code: plan.NoCarrier, text: b.String(), broken: true}
		}
	}
	return states
}

func subjectName(rec *bond.Record, member int) string {
	if member == plan.OnBond {
		return ""
	}
	return rec.Members[member].Name
}

func (e *Engine) openLosses(rec *bond.Record, losses map[string]lossState, state *bondRepairState, now time.Time) bool {
	if rec.Phase != bond.PhaseReady {
		return false // it is still being made
	}
	changed := false
	for i := plan.OnBond; i < len(rec.Members); i++ {
		name := subjectName(rec, i)
		s := losses[name]
		if _, known := rec.Repairs.Open[name]; known || s.code == "" {
			continue
		}
		if rec.Repairs.Open == nil {
			rec.Repairs.Open = map[string]bond.Loss{}
		}
		rec.Repairs.Open[name] = bond.Loss{Cause: string(s.code), Since: now}
		if unsettles(s.code) {
			rec.Settled = false
		}
		if flaps(s.code) {
			state.lost(i, now)
		}
		changed = true
		log, level := e.logFor(rec), state.lossLevel(i, s.code)
		if i == plan.OnBond {
			log.Log(level, "bond damaged", zap.String("cause", string(s.code)), zap.String("found", s.text))
		} else {
			log.Log(level, "member lost", zap.String("member", name), zap.String("cause", string(s.code)), zap.String("found", s.text))
		}
	}
	return changed
}

func (e *Engine) closeLosses(rec *bond.Record, losses map[string]lossState, state *bondRepairState, now time.Time) bool {
	changed := false
	for i := plan.OnBond; i < len(rec.Members); i++ {
		name := subjectName(rec, i)
		loss, open := rec.Repairs.Open[name]
		if !open || losses[name].broken {
			continue
		}
		delete(rec.Repairs.Open, name)
		rec.Repairs.Count++
		took := now.Sub(loss.Since)
		rec.Repairs.Last = &bond.Repair{Member: name, Cause: loss.Cause, At: now, Took: took.Milliseconds()}
		state.returned(i, now)
		changed = true
		log, level := e.logFor(rec), state.repairLevel(i)
		if i == plan.OnBond {
			log.Log(level, "bond recovered", zap.String("cause", loss.Cause), zap.Duration("took", took))
		} else {
			log.Log(level, "member recovered", zap.String("member", name), zap.String("cause", loss.Cause), zap.Duration("took", took))
		}
	}
	return changed
}

// settled reports whether every member is in the bond and carries, and nothing is left to repair. A bond without carrier is not
// settled: its active member, whose MAC it may take, is not chosen yet (up to miimon and updelay after a member has a carrier).
func settled(rec *bond.Record, obs *bond.Observed, p plan.Plan) bool {
	if obs.Bond == nil || !obs.Bond.Carrier || len(rec.Repairs.Open) > 0 {
		return false
	}
	for i := range obs.Members {
		if rec.Members[i].Unidentified {
			continue // it never comes
		}
		if !enslaved(obs, i) || !obs.Members[i].Link.Carrier {
			return false
		}
	}
	for _, f := range p.Findings {
		if f.Code == plan.MACAway || f.Code == plan.NotActive {
			return false
		}
	}
	return true
}
