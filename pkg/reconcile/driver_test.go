package reconcile_test

import (
	"strings"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

// TestStateFollowsTheDriver: a bond is Ready only while it has carrier and the bonding driver uses each member. What
// the driver finds on the path is reported, and nothing is changed because of it, however long it lasts.
func TestStateFollowsTheDriver(t *testing.T) {
	arp := bond.Options{bond.OptMode: "active-backup", bond.OptArpInterval: "100", bond.OptArpIPTargets: "192.0.2.9", bond.OptFailOverMac: "active"}
	lacp := bond.Options{bond.OptMode: "802.3ad", bond.OptMiimon: "100"}
	minLinks := bond.Options{bond.OptMode: "802.3ad", bond.OptMiimon: "100", bond.OptMinLinks: "2"}
	for name, tc := range map[string]struct {
		options bond.Options
		silent  []string
		state   bond.State
		members [2]bond.MemberState
		reason  string
	}{
		"ARP, one member":     {arp, []string{"net2"}, bond.StateDegraded, [2]bond.MemberState{bond.MemberActive, bond.MemberNotUsed}, "192.0.2.9"},
		"ARP, both members":   {arp, []string{"net1", "net2"}, bond.StateDown, [2]bond.MemberState{bond.MemberNotUsed, bond.MemberNotUsed}, "192.0.2.9"},
		"LACP, one member":    {lacp, []string{"net2"}, bond.StateDegraded, [2]bond.MemberState{bond.MemberUp, bond.MemberNotUsed}, "aggregator 2"},
		"LACP, no partner":    {lacp, []string{"net1", "net2"}, bond.StateDegraded, [2]bond.MemberState{bond.MemberUp, bond.MemberNotUsed}, "1 of 2 ports"},
		"LACP, below minimum": {minLinks, []string{"net2"}, bond.StateDown, [2]bond.MemberState{bond.MemberUp, bond.MemberNotUsed}, "minLinks 2"},
	} {
		t.Run(name, func(t *testing.T) {
			r := ready(t, tc.options)
			changes := r.Changes()
			for _, member := range tc.silent {
				must(t, r.Silence(scenario.PodPath, member))
			}
			out := r.wantState(tc.state)
			for i, want := range tc.members {
				if got := out.Status.Members[i].State; got != want {
					t.Errorf("%s is %q, want %q", out.Status.Members[i].Name, got, want)
				}
			}
			if !strings.Contains(out.Status.Reason, tc.reason) || out.Status.NoCarrier != (tc.state == bond.StateDown) {
				t.Errorf("reason %q, no carrier %t; want a reason with %q", out.Status.Reason, out.Status.NoCarrier, tc.reason)
			}
			r.clock.turn(time.Minute)
			r.wantState(tc.state)
			for _, member := range tc.silent {
				must(t, r.EndSilence(scenario.PodPath, member))
			}
			if out = r.wantState(bond.StateReady); out.Status.Reason != "" || out.Record.Repairs.Count != 0 || r.Changes() != changes {
				t.Errorf("reason %q, %d repairs, %d changes; want none\n%s", out.Status.Reason, out.Record.Repairs.Count, r.Changes()-changes, r.Node)
			}
		})
	}
}

// TestBondOfOnePortWithoutPartner is not Ready, although its only member carries.
func TestBondOfOnePortWithoutPartner(t *testing.T) {
	r := newFixture(t, bond.Options{bond.OptMode: "802.3ad", bond.OptMiimon: "100"})
	must(t, r.engine.Update(t.Context(), r.Record.Key, func(rec *bond.Record) error {
		rec.Members = rec.Members[:1]
		return nil
	}))
	r.wantState(bond.StateReady)
	must(t, r.Silence(scenario.PodPath, "net1"))
	out := r.wantState(bond.StateDegraded)
	if a := out.Status.Aggregator; a == nil || !a.Partner.IsZero() || out.Status.NoCarrier || !strings.Contains(out.Status.Reason, "does the switch port run LACP?") {
		t.Fatalf("aggregator %+v, no carrier %t, reason %q", a, out.Status.NoCarrier, out.Status.Reason)
	}
}

// TestPartnerThatLeavesWithoutAnEvent: the kernel does not report that a partner came or left, so a bond in mode
// 802.3ad is checked at its LACP interval. Other bonds of VFs are checked less often, for what else has no event.
func TestPartnerThatLeavesWithoutAnEvent(t *testing.T) {
	for _, tc := range []struct {
		options bond.Options
		every   time.Duration
	}{
		{bond.Options{bond.OptMode: "802.3ad", bond.OptMiimon: "100", bond.OptLacpRate: "fast"}, time.Second},
		{bond.Options{bond.OptMode: "802.3ad", bond.OptMiimon: "100"}, 30 * time.Second},
		{scenario.OKD(), 45 * time.Second},
	} {
		r := ready(t, tc.options)
		out := r.wantState(bond.StateReady)
		if out.Poll == nil || out.Poll.Every != tc.every || r.engine.Changed(t.Context(), out.Poll) != "" {
			t.Fatalf("%s: checked %+v; want every %s, and no change", tc.options, out.Poll, tc.every)
		}
		if tc.every > 30*time.Second {
			continue
		}
		must(t, r.Silence(scenario.PodPath, "net1"))
		must(t, r.Silence(scenario.PodPath, "net2"))
		if r.engine.Changed(t.Context(), out.Poll) != reconcile.CauseAggregator {
			t.Errorf("%s: the partner's leaving is not a change", tc.options)
		}
		must(t, r.DeleteBond(scenario.PodPath, scenario.BondIf))
		if r.engine.Changed(t.Context(), out.Poll) != reconcile.CauseAggregator {
			t.Errorf("%s: the bond's end is not a change", tc.options)
		}
	}
}
