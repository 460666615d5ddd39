package reconcile

import (
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile/plan"
)

// book keeps the record's own account of the bond: its ifindex, what is missing since
// when, what was repaired, and whether it has settled. It saves only what changed (changed: the caller did so), so
// that looking at a healthy bond writes nothing.
func (e *Engine) book(rec *bond.Record, obs *bond.Observed, p plan.Plan, mem *bondMemory, changed bool) error {
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
	changed = e.open(rec, losses, mem, now) || changed
	changed = e.close(rec, losses, mem, now) || changed
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

// isLoss says which findings are something that was lost and is put back. A missing
// carrier keeps a loss open and opens none, unless it is answered by a bounce: the cable
// is not ours.
func isLoss(c plan.Code) bool {
	switch c {
	case plan.BondMissing, plan.MemberLost, plan.MemberInHost, plan.NotEnslaved, plan.Renamed, plan.LinkDown, plan.MACDiffers, plan.MTUDiffers, plan.SettingsChanged, plan.NotRestored:
		return true
	}
	return false
}

// unsettles says which losses may cost the bond its recorded MAC: those that make it
// choose another active member, and are not a failover for want of carrier.
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

// part is one of the places where something can be missing.
type part struct {
	code   plan.Code // the first loss; empty when there is none
	text   string
	broken bool // anything is wrong, a missing carrier included
}

// lossesOf sums the plan's findings up, by the member's name; the bond's own under "".
func lossesOf(rec *bond.Record, p plan.Plan) map[string]part {
	parts := map[string]part{}
	for _, f := range p.Findings {
		name := partName(rec, f.Member)
		s := parts[name]
		s.broken = s.broken || f.Code != plan.Stranger && f.Code != plan.OwnerUnreadable
		if s.code == "" && isLoss(f.Code) {
			s.code, s.text = f.Code, f.Text
		}
		parts[name] = s
	}
	for _, a := range p.Actions {
		if b, ok := a.(plan.Bounce); ok {
			parts[partName(rec, b.On())] = part{code: plan.NoCarrier, text: b.String(), broken: true}
		}
	}
	return parts
}

func partName(rec *bond.Record, member int) string {
	if member == plan.OnBond {
		return ""
	}
	return rec.Members[member].Name
}

func (e *Engine) open(rec *bond.Record, losses map[string]part, mem *bondMemory, now time.Time) bool {
	if rec.Phase != bond.PhaseReady {
		return false // being made is not being repaired
	}
	changed := false
	for i := plan.OnBond; i < len(rec.Members); i++ {
		name := partName(rec, i)
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
			mem.lost(i, now)
		}
		changed = true
		e.logFor(rec).Log(mem.lossLevel(i, s.code), "loss", zap.String("member", name), zap.String("cause", string(s.code)), zap.String("found", s.text))
	}
	return changed
}

func (e *Engine) close(rec *bond.Record, losses map[string]part, mem *bondMemory, now time.Time) bool {
	changed := false
	for i := plan.OnBond; i < len(rec.Members); i++ {
		name := partName(rec, i)
		loss, open := rec.Repairs.Open[name]
		if !open || losses[name].broken {
			continue
		}
		delete(rec.Repairs.Open, name)
		rec.Repairs.Count++
		took := now.Sub(loss.Since)
		rec.Repairs.Last = &bond.Repair{Member: name, Cause: loss.Cause, At: now, Took: took.Milliseconds()}
		mem.returned(i, now)
		changed = true
		e.logFor(rec).Log(mem.repairLevel(i), "repaired", zap.String("member", name), zap.String("cause", loss.Cause), zap.Duration("took", took))
	}
	return changed
}

// settled: every member is in and carries, and nothing is left to put back.
func settled(rec *bond.Record, obs *bond.Observed, p plan.Plan) bool {
	if obs.Bond == nil || len(rec.Repairs.Open) > 0 {
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
