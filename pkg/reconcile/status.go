package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile/history"
)

// maxReasons bounds the reasons in a status.
const maxReasons = 4

// statusOf returns the bond's status. h may be nil if nothing is known of failed repairs.
func statusOf(rec *bond.Record, obs *bond.Observed, p plan.Plan, h *history.History) bond.Status {
	s := bond.Status{
		Key: rec.Key, Pod: rec.Pod, Network: rec.Network,
		Mode: rec.Spec.Options.Mode().String(), MAC: rec.Spec.MAC, MTU: rec.Spec.MTU,
		Repairs: rec.Repairs.Count, Last: rec.Repairs.Last, Losses: rec.LossIDs(),
		Warnings: slices.Clone(rec.Warnings), Reason: reasonOf(obs, p, h),
	}
	for _, c := range rec.Contested {
		s.Warnings = append(s.Warnings, c.String())
	}
	s.Warnings = append(s.Warnings, p.Warnings...)
	s.Contested = len(rec.Contested)
	fights := rec.Fights
	if h != nil {
		fights = h.Limits(rec)
	}
	for _, what := range fights {
		s.Fighting++
		s.Warnings = append(s.Warnings, "another writer keeps undoing repairs ("+what+"); they are limited to 10 per minute")
	}
	if rec.Deleted() && rec.CNI.IPAMError != "" {
		s.Reason, s.Unreleased = releaseReason(rec, s.Reason), rec.CNI.IPAMError
	}
	for _, loss := range rec.Repairs.Open {
		if s.Since.IsZero() || loss.Since.Before(s.Since) {
			s.Since = loss.Since
		}
	}
	s.NoCarrier = obs.Bond == nil || !obs.Bond.Carrier
	if b := obs.Bond; b != nil {
		s.MAC, s.MTU, s.Aggregator = b.MAC, b.MTU, b.Aggregator
	}
	carrying := 0
	for i := range rec.Members {
		m := memberStatus(rec, obs, p, i)
		if m.State.Carries() {
			carrying++
		}
		if isActive(rec, obs, i) {
			s.Active = m.Name
		}
		s.Members = append(s.Members, m)
	}
	if activeDrifts(rec, obs, s.Members) {
		carrying = 0
	}
	s.State = stateOf(rec, obs, p, carrying, h)
	if s.State == bond.StateDown && s.Reason == "" && obs.SandboxAlive {
		s.Reason = noCarrierReason(rec, obs, carrying)
	}
	return s
}

// noCarrierReason is the reason why a bond is down that has nothing to repair.
func noCarrierReason(rec *bond.Record, obs *bond.Observed, carrying int) string {
	if carrying == 0 || !obs.Bond.Up {
		return ""
	}
	return fmt.Sprintf("%s has no carrier (yet), though the bonding driver counts %d of its members as up", rec.BondName(), carrying)
}

// releaseReason is the reason why a tombstone remains.
func releaseReason(rec *bond.Record, reason string) string {
	text := fmt.Sprintf("the addresses remain allocated: attempt %d failed at %s UTC and is repeated with pauses of up to %s: %s",
		rec.CNI.IPAMAttempts, rec.Updated.UTC().Format(time.DateTime), maxReleasePause, rec.CNI.IPAMError)
	if reason == "" {
		return text
	}
	return text + "; " + reason
}

func stateOf(rec *bond.Record, obs *bond.Observed, p plan.Plan, carrying int, h *history.History) bond.State {
	switch {
	case rec.Deleted():
		return bond.StateDeleting
	case !obs.SandboxAlive:
		return bond.StateDown
	case p.Verdict == plan.Stuck, p.Verdict == plan.Act && h.AllBlocked(p.Actions):
		return bond.StateStuck
	case p.Verdict == plan.Act, rec.WithoutLease():
		return bond.StateRepairing
	case carrying == 0 || !obs.Bond.Carrier:
		return bond.StateDown
	case carrying < len(rec.Members), finds(p, plan.Released), finds(p, plan.Unread), finds(p, plan.MACAway), finds(p, plan.LinksMissing), finds(p, plan.RDMAInHost), finds(p, plan.Aggregation):
		return bond.StateDegraded
	default:
		return bond.StateReady
	}
}

// finds reports whether a plan has a finding that keeps a bond from being Ready though all its members carry: a VF that
// was returned to its owner, addresses and routes that are not known, another MAC than the recorded one, or no LACP
// partner.
func finds(p plan.Plan, code plan.Code) bool {
	return slices.ContainsFunc(p.Findings, func(f plan.Finding) bool { return f.Code == code })
}

// reasonOf joins the findings. That addresses and routes are read later is left out if there are others. It may apply
// in every second reconcile, and each change of the reason is logged and reported to the pod.
func reasonOf(obs *bond.Observed, p plan.Plan, h *history.History) string {
	var reasons []string
	reported := map[int]bool{}
	for _, f := range p.Findings {
		if f.Code == plan.Unread && obs.Bond.ReadLater && len(p.Findings) > 1 {
			continue
		}
		if len(reasons) == maxReasons {
			reasons = append(reasons, "and more")
			break
		}
		text := f.Text
		if err := h.LastError(p.Actions, f.Member); err != "" && !reported[f.Member] {
			reported[f.Member] = true
			text += ": " + err
		}
		reasons = append(reasons, text)
	}
	return strings.Join(reasons, "; ")
}

func memberStatus(rec *bond.Record, obs *bond.Observed, p plan.Plan, i int) bond.MemberStatus {
	m := &rec.Members[i]
	s := bond.MemberStatus{Name: m.Name, PCI: m.PCI, State: memberState(rec, obs, p, i)}
	if m.VF != nil {
		s.PF, s.VF = m.VF.PF, m.VF.Number
	}
	for _, f := range p.Findings {
		if f.Member == i {
			s.Reason = f.Text
			break
		}
	}
	if loss, open := rec.Repairs.Open[m.Name]; open {
		s.Since = loss.Since
	}
	return s
}

// isActive reports whether member i is the active one, in mode active-backup.
func isActive(rec *bond.Record, obs *bond.Observed, i int) bool {
	m := &obs.Members[i]
	return rec.Spec.Options.Mode() == bond.ModeActiveBackup && obs.Enslaved(i) && obs.Bond.Active == m.Link.Index
}

// activeDrifts reports whether the PF drops the traffic of the active member. The kernel does not see it, so there is
// no failover.
func activeDrifts(rec *bond.Record, obs *bond.Observed, members []bond.MemberStatus) bool {
	for i := range members {
		if members[i].State == bond.MemberPFDrift && isActive(rec, obs, i) {
			return true
		}
	}
	return false
}

func memberState(rec *bond.Record, obs *bond.Observed, p plan.Plan, i int) bond.MemberState {
	m := &obs.Members[i]
	switch {
	case rec.Members[i].Unidentified:
		return bond.MemberUnidentified
	case m.Ownership == bond.Released && m.Location != bond.InPod:
		return bond.MemberReleased
	case m.Location == bond.InHost:
		return bond.MemberInHost
	case m.Location != bond.InPod:
		return bond.MemberLost
	case !obs.Enslaved(i):
		return bond.MemberNotEnslaved
	case !m.Link.Up:
		return bond.MemberDown
	case !m.Link.Carrier:
		return bond.MemberNoCarrier
	case slices.ContainsFunc(p.Findings, func(f plan.Finding) bool { return f.Member == i && f.Code == plan.PFDrift }):
		return bond.MemberPFDrift
	case !m.Used():
		return bond.MemberNotUsed
	case rec.Spec.Options.Mode() != bond.ModeActiveBackup:
		return bond.MemberUp
	case isActive(rec, obs, i):
		return bond.MemberActive
	default:
		return bond.MemberBackup
	}
}
