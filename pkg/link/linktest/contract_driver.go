package linktest

import (
	"errors"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// silent makes the bond, up, with both members, behind which nothing answers.
func (s *fixture) silent(options bond.Options) {
	s.Helper()
	s.create(options)
	s.apply(plan.SetUp{Link: s.bond()})
	for i := range s.r.Members {
		s.must(s.w.Silence(s.path, s.r.Members[i].Name), "silence")
		s.apply(plan.Enslave{Link: s.link(i), Bond: s.bond()})
	}
}

// membersHaveCarrier awaits a state of the bond in which both members have carrier.
func (s *fixture) membersHaveCarrier(what string, ok func(bond.Observed) bool) bond.Observed {
	s.Helper()
	return s.until(what, func(o bond.Observed) bool {
		return o.Members[0].Link.Carrier && o.Members[1].Link.Carrier && ok(o)
	})
}

func arpSilent(s *fixture) { s.arpSilentIn("balance-rr") }

func arpSilentActiveBackup(s *fixture) { s.arpSilentIn("active-backup") }

func (s *fixture) arpSilentIn(mode string) {
	s.Helper()
	// Without validation each frame counts that a member receives, the other one's requests too if the cards share a network.
	s.silent(bond.Options{bond.OptMode: mode, bond.OptArpInterval: "100", bond.OptArpIPTargets: "192.0.2.9", bond.OptArpValidate: "all"})
	s.apply(plan.AddAddress{Bond: s.bond(), Prefix: addr("192.0.2.1/24")})
	s.membersHaveCarrier("no member is up, and the bond has no carrier", func(o bond.Observed) bool {
		return !o.Bond.Carrier && o.Bond.Active == 0 && !o.Members[0].MIIUp && !o.Members[1].MIIUp
	})
}

func lacp(minLinks string) bond.Options {
	return bond.Options{bond.OptMode: "802.3ad", bond.OptMiimon: "50", bond.OptLacpRate: "fast", bond.OptMinLinks: minLinks}
}

// onePortInUse reports whether the driver uses one member, alone in its aggregator and without a partner.
func onePortInUse(o bond.Observed) bool {
	a, p, q := o.Bond.Aggregator, o.Members[0].Port, o.Members[1].Port
	return a != nil && a.Ports == 1 && a.Partner.IsZero() && p != nil && q != nil && p.Aggregator != q.Aggregator &&
		o.Members[0].MIIUp && o.Members[1].MIIUp && p.Active == (p.Aggregator == a.ID) && q.Active == (q.Aggregator == a.ID)
}

func noPartner(s *fixture) {
	s.silent(lacp("0"))
	o := s.membersHaveCarrier("one port is in use", func(o bond.Observed) bool { return o.Bond.Carrier && onePortInUse(o) })
	s.equal("use of the members", o.Members[0].Used() != o.Members[1].Used(), true)
	a, err := s.w.Aggregator(s.Context(), s.r)
	s.must(err, "read the aggregator")
	s.equal("aggregator", a, o.Bond.Aggregator)
	s.apply(plan.DeleteBond{Bond: s.bond()})
	if _, err = s.w.Aggregator(s.Context(), s.r); !errors.Is(err, bond.ErrGone) {
		s.Errorf("aggregator of a bond that is gone: %v", err)
	}
}

func belowMinLinks(s *fixture) {
	s.silent(lacp("2"))
	s.membersHaveCarrier("no carrier with one port", func(o bond.Observed) bool { return !o.Bond.Carrier && onePortInUse(o) })
}

func noAggregator(s *fixture) {
	o := s.bonded(activeBackup())
	if o.Bond.Aggregator != nil || o.Members[0].Port != nil || o.Members[1].Port != nil {
		s.Errorf("aggregator %v, ports %v, %v", o.Bond.Aggregator, o.Members[0].Port, o.Members[1].Port)
	}
	s.until("both are used", func(o bond.Observed) bool { return o.Members[0].Used() && o.Members[1].Used() })
}
