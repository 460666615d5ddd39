package plan_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// maxRounds is how many times the planner may be called before its plan must be empty.
const maxRounds = 8

var allOptions = []bond.Options{
	scenario.OKD(),
	{bond.OptMode: "active-backup", bond.OptMiimon: "100"},
	{bond.OptMode: "active-backup", bond.OptMiimon: "100", bond.OptFailOverMac: "follow"},
	{bond.OptMode: "active-backup", bond.OptMiimon: "100", bond.OptFailOverMac: "active", bond.OptPrimary: "net2"},
	{bond.OptMode: "active-backup", bond.OptMiimon: "100", bond.OptPrimary: "net1", bond.OptPrimaryReselect: "failure"},
	{bond.OptMode: "active-backup", bond.OptMiimon: "100", bond.OptActiveSlave: "net2"},
	{bond.OptMode: "balance-alb", bond.OptMiimon: "100", bond.OptActiveSlave: "net2"},
	{bond.OptMode: "balance-rr", bond.OptMiimon: "100"},
	{bond.OptMode: "balance-xor", bond.OptMiimon: "100"},
	{bond.OptMode: "balance-tlb", bond.OptMiimon: "100"},
}

// FuzzDiff causes any sequence of faults, with planning in between. It checks the planner's invariants all the time,
// and finally that the bond is repaired and deleted.
func FuzzDiff(f *testing.F) {
	faults := scenario.Faults()
	for i := range faults {
		f.Add(byte(i%len(allOptions)), []byte{byte(len(faults)), byte(i), byte(len(faults)), byte(i + 1)})
		f.Add(unclaimed, []byte{byte(len(faults)), byte(i), byte(len(faults)), byte(i + 1)})
		f.Add(withMemberOptions, []byte{byte(len(faults)), byte(i), byte(len(faults)), byte(i + 1)})
	}
	f.Fuzz(func(t *testing.T, options byte, steps []byte) {
		if len(steps) > 24 {
			steps = steps[:24]
		}
		s := &fuzzRun{t: t, w: scenario.New(allOptions[int(options&^(withMemberOptions|unclaimed))%len(allOptions)].Clone())}
		if options&unclaimed != 0 {
			s.unclaim()
		}
		if options&withMemberOptions != 0 {
			s.setMemberOptions()
		}
		for _, step := range steps {
			i := int(step) % (len(faults) + 1)
			if i == len(faults) {
				s.log = append(s.log, "converge")
				s.converge()
				continue
			}
			s.log = append(s.log, faults[i].Name)
			faults[i].Do(s.w)
		}
		s.end()
	})
}

// withMemberOptions in the options of a run: the members have options of their own.
const withMemberOptions byte = 0x80

// unclaimed: the VFs were attached by a plugin without files.
const unclaimed byte = 0x40

func (s *fuzzRun) unclaim() {
	for i := range s.w.Record.Members {
		s.w.Detach(&s.w.Record.Members[i])
		s.w.Record.Members[i].SriovCNI = nil
	}
}

// setMemberOptions requests queue IDs, and priorities if the mode has them.
func (s *fuzzRun) setMemberOptions() {
	for i := range s.w.Record.Members {
		m := &s.w.Record.Members[i]
		m.QueueID = new(uint16(2 - i))
		if s.w.Record.Spec.Options.Mode().UsesPrimary() {
			m.Prio = new(int32(20 - 10*i))
		}
	}
}

// fuzzRun is one run: the events so far, for the message of a failure.
type fuzzRun struct {
	t   *testing.T
	w   *scenario.Node
	log []string
}

func (s *fuzzRun) fatalf(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("%s\noptions: %s\nevents: %q\n%s", fmt.Sprintf(format, args...), s.w.Record.Spec.Options, s.log, s.w)
}

func (s *fuzzRun) observe() bond.Observed {
	s.t.Helper()
	obs, err := s.w.Observe(s.t.Context(), s.w.Record)
	if err != nil {
		s.fatalf("observe: %v", err)
	}
	if obs.Bond != nil {
		s.w.Record.BondIndex = obs.Bond.Index
	}
	s.markLost(&obs)
	return obs
}

// markLost marks members that have left the pod, or have a new link there, until they are in the bond.
func (s *fuzzRun) markLost(obs *bond.Observed) {
	for i := range s.w.Record.Members {
		m, o := &s.w.Record.Members[i], &obs.Members[i]
		if obs.Enslaved(i) {
			m.SettingsOf, m.Restoring = o.Link.Index, false
		} else if o.Location != bond.InPod || m.SettingsOf != o.Link.Index {
			m.Restoring = true
		}
	}
}

// converge plans and applies until nothing more is planned, or nothing more works.
func (s *fuzzRun) converge() (plan.Plan, []error) {
	s.t.Helper()
	for range maxRounds {
		obs := s.observe()
		p := plan.Diff(plan.Input{Record: s.w.Record, Observed: obs})
		s.check(p, &obs)
		if p.Verdict != plan.Act {
			return p, nil
		}
		before := s.w.String()
		var errs []error
		failed := map[int]bool{}
		for _, a := range p.Actions {
			if failed[a.Subject()] {
				continue
			}
			if err := s.w.Apply(s.t.Context(), s.w.Record, a); err != nil {
				failed[a.Subject()] = true
				errs = append(errs, fmt.Errorf("%s: %w", a, err))
			}
		}
		if len(errs) > 0 && s.w.String() == before {
			return p, errs
		}
	}
	obs := s.observe()
	if p := plan.Diff(plan.Input{Record: s.w.Record, Observed: obs}); p.Verdict == plan.Act {
		s.fatalf("still acting after %d rounds: %v", maxRounds, p.Actions)
	} else {
		return p, nil
	}
	panic("unreachable")
}

// check checks what must be true of every plan.
func (s *fuzzRun) check(p plan.Plan, obs *bond.Observed) {
	s.t.Helper()
	if (p.Verdict == plan.Act) != (len(p.Actions) > 0) {
		s.fatalf("verdict %s with actions %v", p.Verdict, p.Actions)
	}
	for _, a := range p.Actions {
		for _, ref := range refsOf(a) {
			s.checkRef(a, ref, obs)
		}
		if r, is := a.(plan.RestoreVF); is {
			s.checkOwned(a, &obs.Members[r.Subject()])
		}
		if !s.w.Record.Deleted() {
			s.checkHarmless(a, obs)
		}
	}
}

// refsOf finds the links that an action names, whatever its type.
func refsOf(a plan.Action) []plan.LinkRef {
	var refs []plan.LinkRef
	v := reflect.ValueOf(a)
	for i := range v.NumField() {
		if r, ok := v.Field(i).Interface().(plan.LinkRef); ok {
			refs = append(refs, r)
		}
	}
	return refs
}

func (s *fuzzRun) checkRef(a plan.Action, ref plan.LinkRef, obs *bond.Observed) {
	s.t.Helper()
	if obs.Bond != nil && ref.Location == bond.InPod && ref.Index == obs.Bond.Index {
		return
	}
	if s.w.Record.MemberByPCI(ref.PCI) < 0 {
		s.fatalf("%s touches %s, which the record does not name", a, ref)
	}
	if ref.Location == bond.InHost {
		s.checkOwned(a, &obs.Members[s.w.Record.MemberByPCI(ref.PCI)])
	}
}

// checkOwned: a VF in the host is changed only while it belongs to the pod.
func (s *fuzzRun) checkOwned(a plan.Action, m *bond.ObservedMember) {
	s.t.Helper()
	if m.ForeignClaim != "" || m.Ownership == bond.Released || m.Ownership == bond.Unreadable {
		s.fatalf("%s takes a VF that is %q (claimed for %q): %s", a, m.Ownership, m.ForeignClaim, m.OwnershipReason)
	}
}

// checkHarmless: what carries traffic in its bond stays in it.
func (s *fuzzRun) checkHarmless(a plan.Action, obs *bond.Observed) {
	s.t.Helper()
	switch a.(type) {
	case plan.Release, plan.SetDown, plan.Bounce, plan.Enslave, plan.MoveToHost:
	case plan.DeleteBond:
		s.fatalf("%s though the bond is wanted", a)
	default:
		return
	}
	m := obs.Members[a.Subject()]
	if obs.Bond != nil && m.Link.Master == obs.Bond.Index && m.Link.Carrier && m.Link.Up {
		s.fatalf("%s takes a member away that carries traffic", a)
	}
}

// end restores everything external. Then the bond must be as recorded; and after that deleted.
func (s *fuzzRun) end() {
	s.t.Helper()
	s.log = append(s.log, "healed")
	s.w.RestoreHardware()
	p, errs := s.converge()
	if len(errs) > 0 {
		s.fatalf("errors after the world was healed: %v", errs)
	}
	obs := s.observe()
	switch p.Verdict {
	case plan.Converged:
		s.checkComplete(&obs)
	case plan.Stuck:
		for _, f := range p.Findings {
			if f.Code != plan.OptionDrift && f.Code != plan.MACAway {
				s.fatalf("stuck: %v", p.Findings)
			}
		}
	default:
		s.fatalf("%s after the world was healed: %v", p.Verdict, p.Findings)
	}
	changes := s.w.Changes()
	s.converge()
	if s.w.Changes() != changes {
		s.fatalf("a converged bond was touched: %v", s.w.ChangeLog()[changes:])
	}
	s.checkAbsence()
}

func (s *fuzzRun) checkComplete(obs *bond.Observed) {
	s.t.Helper()
	rec, b := s.w.Record, obs.Bond
	_, hasPrimary := rec.Spec.Options[bond.OptPrimary]
	if b == nil || b.Name != rec.Key.IfName || b.MTU != rec.Spec.MTU || !b.Up || b.MAC != rec.Spec.MAC && !hasPrimary {
		s.fatalf("bond is %+v, want MAC %s and MTU %d", b, rec.Spec.MAC, rec.Spec.MTU)
	}
	if len(b.Addresses) < len(rec.Addresses) || len(b.Routes) < len(rec.Routes) {
		s.fatalf("addresses %v, routes %v", b.Addresses, b.Routes)
	}
	for i, m := range obs.Members {
		if m.Location != bond.InPod || m.Link.Master != b.Index || m.Link.Name != rec.Members[i].Name || !m.Link.Up || m.Link.MTU != rec.Spec.MTU {
			s.fatalf("member %d is %+v", i, m)
		}
		if want := rec.Members[i]; want.QueueID != nil && *want.QueueID != *m.QueueID || want.Priority() != *m.Prio && want.Prio != nil {
			s.fatalf("%s has queueId %d and prio %d", want.Name, *m.QueueID, *m.Prio)
		}
		if rec.Spec.Options.SwapsMACs() && slices.ContainsFunc(obs.Members[:i], func(o bond.ObservedMember) bool { return o.Link.MAC == m.Link.MAC }) {
			s.fatalf("%s has the MAC %s of another member", rec.Members[i].Name, m.Link.MAC)
		}
		vf, _ := s.w.VF(rec.Members[i].PCI)
		if d := rec.Members[i].VF.Settings.Diff(vf.Settings); !d.Empty() {
			s.fatalf("%s is attached without its PF-side settings: %s", rec.Members[i].Name, d)
		}
	}
}

func (s *fuzzRun) checkAbsence() {
	s.t.Helper()
	s.log = append(s.log, "DEL")
	s.w.Record.Phase = bond.PhaseDeleting
	if _, errs := s.converge(); len(errs) > 0 {
		s.fatalf("errors on the way to absence: %v", errs)
	}
	obs := s.observe()
	if obs.Bond != nil {
		s.fatalf("the bond is still there")
	}
	for i, m := range obs.Members {
		want := s.w.Record.Members[i].Original
		if m.Location != bond.InPod || m.Link.Master != 0 || m.Link.Name != want.Name || m.Link.MAC != want.MAC || m.Link.MTU != want.MTU || m.Link.Up != want.Up {
			s.fatalf("member %d is given back as %+v, want %+v", i, m.Link, want)
		}
	}
}
