package history

import (
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// isLoss reports whether a finding is a loss that is repaired. A missing carrier keeps a loss open but opens none,
// unless the plan is to bounce the member: the cause may be the cable.
func isLoss(c plan.Code) bool {
	switch c {
	case plan.BondMissing, plan.MemberLost, plan.MemberInHost, plan.NotEnslaved, plan.Renamed, plan.LinkDown,
		plan.MACDiffers, plan.MTUDiffers, plan.SettingsChanged, plan.PFSettingsChanged, plan.NotRestored:
		return true
	}
	return false
}

// LossCauses returns the causes that losses of a subject can have: what isLoss lists, and a missing carrier.
func LossCauses(s bond.Subject) []plan.Code {
	if s == bond.SubjectBond {
		return []plan.Code{plan.BondMissing, plan.Renamed, plan.LinkDown, plan.MTUDiffers, plan.SettingsChanged, plan.NotRestored}
	}
	return []plan.Code{
		plan.MemberLost, plan.MemberInHost, plan.NotEnslaved, plan.NoCarrier, plan.Renamed, plan.LinkDown,
		plan.MACDiffers, plan.MTUDiffers, plan.SettingsChanged, plan.PFSettingsChanged, plan.NotRestored,
	}
}

// unsettles reports whether after a loss the bond may have lost its recorded MAC: losses after which another member is
// active, except a failover.
func unsettles(c plan.Code) bool {
	switch c {
	case plan.BondMissing, plan.MemberLost, plan.MemberInHost, plan.NotEnslaved, plan.LinkDown, plan.NoCarrier,
		plan.MTUDiffers:
		return true
	}
	return false
}

// flaps reports whether a member that is lost again and again in this way is damped. What the pod can cause has
// budgets, and so has the loss of the bond itself.
func flaps(c plan.Code) bool {
	return c == plan.MemberLost || c == plan.MemberInHost || c == plan.NoCarrier
}

// summary is what the findings say about a subject.
type summary struct {
	// code is the first loss that unsettles the bond, or else the first one; empty if there is none.
	code   plan.Code
	text   string
	broken bool // anything is wrong, a missing carrier included
}

// summarize returns the findings by subject.
func summarize(p plan.Plan) map[int]summary {
	all := map[int]summary{}
	for _, f := range p.Findings {
		s := all[f.Member]
		s.broken = s.broken || f.Code != plan.UnknownMember && f.Code != plan.OwnerUnreadable && f.Code != plan.PFDrift && f.Code != plan.LinksMissing && f.Code != plan.RDMAInHost
		if isLoss(f.Code) && (s.code == "" || !unsettles(s.code) && unsettles(f.Code)) {
			s.code, s.text = f.Code, f.Text
		}
		all[f.Member] = s
	}
	for _, a := range p.Actions {
		if b, ok := a.(plan.Bounce); ok {
			all[b.Subject()] = summary{code: plan.NoCarrier, text: b.String(), broken: true}
		}
	}
	return all
}

// Lost is a loss that was opened.
type Lost struct {
	ID     string
	Member int // or plan.OnBond
	Cause  plan.Code
	Found  string
	Quiet  bool // to be logged at debug level
}

// Recovered is a loss that was closed.
type Recovered struct {
	ID     string
	Member int // or plan.OnBond
	Cause  string
	Took   time.Duration
	Absent time.Duration // of Took: in neither the pod nor the host
	Quiet  bool          // to be logged at debug level
}

// losses opens and closes losses, and marks the bond as settled. A bond whose ADD has not returned is still being
// created, so no loss is opened.
func (r *Run) losses(obs *bond.Observed, p plan.Plan, now time.Time, res *Result) {
	rec, found := r.rec, summarize(p)
	for i, s := range r.h.subjects(rec) {
		f := found[i]
		s.next(event{eventKind: presence(obs, i)}, now, r.h.timing)
		if rec.Settled && rec.Phase == bond.PhaseReady && unsettles(f.code) { // a loss may grow while it is open
			rec.Settled, res.Changed = false, true
		}
		if s.loss != nil && f.broken {
			s.next(event{eventKind: remains(f.code)}, now, r.h.timing)
		}
		switch {
		case s.loss == nil && f.code != "" && rec.Phase == bond.PhaseReady:
			kind := lost
			if flaps(f.code) {
				kind = lostVF
			}
			s.quiet = f.code != plan.MemberLost && f.code != plan.MemberInHost && r.h.limited(i)
			id := r.lossID(i, f.code, now)
			s.next(event{eventKind: kind, what: string(f.code), id: id}, now, r.h.timing)
			res.Lost = append(res.Lost, Lost{ID: id, Member: i, Cause: f.code, Found: f.text, Quiet: s.quiet})
		case s.loss != nil && !f.broken:
			loss, took := s.loss, max(0, now.Sub(s.loss.Since)) // below 0 the clock was set back
			absence := min(max(0, s.absentFor(now)), took)
			s.next(event{eventKind: repaired}, now, r.h.timing)
			rec.Repairs.Add(bond.Repair{ID: loss.ID, Member: nameOf(rec, i), Cause: loss.Cause, At: now, Took: took.Milliseconds()})
			res.Recovered = append(res.Recovered, Recovered{ID: loss.ID, Member: i, Cause: loss.Cause, Took: took, Absent: absence, Quiet: s.quiet})
		default:
			continue
		}
		s.save(rec, i)
		res.Changed = true
	}
	if !rec.Settled && settled(rec, obs, p) {
		rec.Settled, res.Changed = true, rec.Phase != bond.PhaseAdding
		delete(rec.Spec.Options, bond.OptActiveSlave) // it applies until the bond has first settled
	}
}

// remains makes an event of an open loss that was not repaired.
func remains(c plan.Code) eventKind {
	if flaps(c) {
		return unrepairedVF
	}
	return unrepaired
}

// presence makes an event of where member i was observed. The bond itself counts as present.
func presence(obs *bond.Observed, i int) eventKind {
	if i != plan.OnBond && obs.Members[i].Location == bond.Lost {
		return absent
	}
	return present
}

// lossID returns the ID of a new loss. A member that was in a lost bond is part of the bond's loss.
func (r *Run) lossID(i int, code plan.Code, now time.Time) string {
	if ofBond := r.rec.Repairs.Open[""]; code == plan.NotEnslaved && ofBond.Cause == string(plan.BondMissing) && ofBond.ID != "" {
		return ofBond.ID
	}
	return bond.LossID(r.rec.Key, nameOf(r.rec, i), now)
}

// settled reports whether every member is in the bond and carries, and nothing is left to repair. A bond without
// carrier is not settled: its active member, whose MAC it may take, is not chosen yet (up to miimon and updelay after a
// member has a carrier).
func settled(rec *bond.Record, obs *bond.Observed, p plan.Plan) bool {
	if obs.Bond == nil || !obs.Bond.Carrier || len(rec.Repairs.Open) > 0 {
		return false
	}
	for i := range obs.Members {
		if rec.Members[i].Unidentified {
			continue // it is never attached
		}
		if !obs.Enslaved(i) || !obs.Members[i].Link.Carrier {
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
