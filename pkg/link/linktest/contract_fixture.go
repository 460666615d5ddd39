package linktest

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

const (
	// timeout is the longest time for an effect to show: in an emulated machine a VF's carrier takes seconds, and many
	// of them if the processors are shared.
	timeout     = time.Minute
	observeEach = 20 * time.Millisecond
)

// fixture is what a case uses.
type fixture struct {
	*testing.T
	env  Env
	w    Harness
	r    *bond.Record
	path string
}

func (s *fixture) must(err error, what string, args ...any) {
	s.Helper()
	if err != nil {
		s.Fatalf(what+": %v", append(args, err)...)
	}
}

// see observes; that must succeed. On a busy machine a kernel may leave addresses and routes unread, a few times in a
// row.
func (s *fixture) see() bond.Observed {
	s.Helper()
	var o bond.Observed
	for range 5 {
		var err error
		o, err = s.w.Observe(s.Context(), s.r)
		s.must(err, "observe")
		if o.Bond == nil || o.Bond.Unread == "" {
			break
		}
	}
	if len(o.Members) != len(s.r.Members) {
		s.Fatalf("observed %d members, the record has %d", len(o.Members), len(s.r.Members))
	}
	return o
}

// until observes until ok returns true, and returns that observation.
func (s *fixture) until(what string, ok func(bond.Observed) bool) bond.Observed {
	s.Helper()
	deadline := time.Now().Add(timeout)
	tick := time.NewTicker(observeEach)
	defer tick.Stop()
	for {
		o := s.see()
		if ok(o) {
			return o
		}
		if time.Now().After(deadline) {
			s.Fatalf("waited %s in vain: %s; bond %s; members %s", timeout, what, oneLine(o.Bond), oneLine(o.Members))
		}
		select {
		case <-tick.C:
		case <-s.Context().Done():
			s.Fatal(s.Context().Err())
		}
	}
}

// apply applies an action; that must succeed.
func (s *fixture) apply(a plan.Action) {
	s.Helper()
	s.must(s.w.Apply(s.Context(), s.r, a), "apply %q", a)
}

// rejected applies an action that must fail with an error of the class (nil: any) and change nothing.
func (s *fixture) rejected(a plan.Action, class error) {
	s.Helper()
	before := s.see()
	err := s.w.Apply(s.Context(), s.r, a)
	switch {
	case err == nil:
		s.Errorf("%q was done; it must be rejected", a)
	case class != nil && !errors.Is(err, class):
		s.Errorf("%q: error is not %q: %v", a, class, err)
	}
	if after := s.see(); !reflect.DeepEqual(still(before), still(after)) {
		everything := cmp.Exporter(func(reflect.Type) bool { return true })
		s.Errorf("%q was rejected and changed something all the same (-before +after):\n%s", a, cmp.Diff(still(before), still(after), everything))
	}
}

// still is o without what changes by itself.
func still(o bond.Observed) bond.Observed {
	if o.Bond != nil {
		b := *o.Bond
		b.Carrier, b.Aggregator = false, nil
		b.Routes = slices.DeleteFunc(slices.Clone(b.Routes), func(r bond.Route) bool { return r.Dst.Addr().IsLinkLocalUnicast() })
		o.Bond = &b
	}
	members := make([]bond.ObservedMember, len(o.Members))
	for i, m := range o.Members {
		m.Link.Carrier, m.MIIUp, m.PF, m.Port = false, false, nil, nil
		if m.Link.PCI != "" {
			m.Link.PermMAC = "" // igbvf reports another one after its MAC was rejected; nothing depends on it
		}
		members[i] = m
	}
	o.Members = members
	return o
}

// link refers to a member where it is now.
func (s *fixture) link(i int) plan.LinkRef {
	s.Helper()
	m := s.see().Members[i]
	if m.Location == bond.Lost {
		s.Fatalf("member %s is lost", &s.r.Members[i])
	}
	return plan.LinkRefOf(m.Location, &m.Link)
}

// bond refers to the bond.
func (s *fixture) bond() plan.LinkRef {
	s.Helper()
	o := s.see()
	if o.Bond == nil {
		s.Fatal("there is no bond")
	}
	return plan.LinkRefOf(bond.InPod, &o.Bond.Link)
}

// create makes the bond and records it as the engine does.
func (s *fixture) create(options bond.Options) {
	s.Helper()
	s.apply(plan.CreateBond{Name: s.r.Key.IfName, Options: options})
	s.r.BondIndex = s.bond().Index
}

// bonded makes the bond, up, with both members, and waits until all carry traffic.
func (s *fixture) bonded(options bond.Options) bond.Observed {
	s.Helper()
	s.create(options)
	s.apply(plan.SetUp{Link: s.bond()})
	for i := range s.r.Members {
		s.join(i)
	}
	return s.carrying()
}

// join enslaves a member to a bond that is up, and waits until the bond counts it as up: the order of members is then
// known.
func (s *fixture) join(i int) {
	s.Helper()
	s.apply(plan.Enslave{Link: s.link(i), Bond: s.bond()})
	s.until(s.r.Members[i].Name+" is counted as up", func(o bond.Observed) bool {
		return o.Members[i].Link.Carrier && o.Members[i].MIIUp
	})
}

// carrying waits until the bond and all members carry traffic, and an active member is chosen if the mode has one.
func (s *fixture) carrying() bond.Observed {
	s.Helper()
	return s.until("bond and members carry", func(o bond.Observed) bool {
		if o.Bond == nil || !o.Bond.Carrier {
			return false
		}
		for _, m := range o.Members {
			if !m.Link.Carrier {
				return false
			}
		}
		mode := o.Bond.Options.Mode()
		hasActive := mode == bond.ModeActiveBackup || mode == bond.ModeTLB || mode == bond.ModeALB
		return !hasActive || o.Bond.Active != 0
	})
}

// activeIs waits until member i is the active one.
func (s *fixture) activeIs(i int) bond.Observed {
	s.Helper()
	return s.until("member "+s.r.Members[i].Name+" is active", func(o bond.Observed) bool {
		return o.Bond != nil && o.Members[i].Location == bond.InPod && o.Bond.Active == o.Members[i].Link.Index
	})
}

// activeStays checks that member i is the active one now and after the monitors have run for a while.
func (s *fixture) activeStays(i int) {
	s.Helper()
	o := s.see()
	if o.Bond.Active != o.Members[i].Link.Index {
		s.Errorf("the active member is ifindex %d, want %s (%d)", o.Bond.Active, s.r.Members[i].Name, o.Members[i].Link.Index)
	}
}

func (s *fixture) equal(what string, got, want any) {
	s.Helper()
	if !reflect.DeepEqual(got, want) {
		s.Errorf("%s: got %v, want %v", what, got, want)
	}
}
