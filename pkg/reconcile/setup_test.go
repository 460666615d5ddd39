package reconcile_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

var (
	defaultRoute = netip.MustParsePrefix("0.0.0.0/0")
	gateway      = netip.MustParseAddr("10.56.217.1")
)

// added is a fixture whose ADD has just returned: other writers may still be setting up the pod.
func added(t *testing.T, options bond.Options) *fixture {
	t.Helper()
	r := ready(t, options)
	r.update(func(rec *bond.Record) { rec.Setup.Returned = r.clock.Now() })
	_, err := r.converge()
	must(t, err)
	return r
}

func (r *fixture) update(change func(*bond.Record)) {
	r.t.Helper()
	must(r.t, r.engine.Update(r.t.Context(), r.Record.Key, func(rec *bond.Record) error { change(rec); return nil }))
}

func (r *fixture) record() *bond.Record {
	r.t.Helper()
	rec, err := r.store.Load(r.Record.Key)
	must(r.t, err)
	return rec
}

// complete ends set-up by time.
func (r *fixture) complete() {
	r.t.Helper()
	r.wantState(bond.StateReady)
	r.clock.turn(time.Minute)
	r.wantState(bond.StateReady)
	if rec := r.record(); rec.Setup.Complete.IsZero() {
		r.t.Fatalf("set-up is not complete after a minute: %+v", rec.Setup)
	}
}

// quiet converges, and fails if anything in the kernel changes.
func (r *fixture) quiet() reconcile.Outcome {
	r.t.Helper()
	before := r.Changes()
	out, err := r.converge()
	must(r.t, err)
	if r.Changes() != before {
		r.t.Errorf("the kernel was changed: %v", r.ChangeLog()[before:])
	}
	return out
}

func (r *fixture) routes(dst netip.Prefix) (found []bond.Route) {
	r.t.Helper()
	o, err := r.Observe(r.t.Context(), r.record())
	must(r.t, err)
	for _, route := range o.Bond.Routes {
		if route.Dst == dst {
			found = append(found, route)
		}
	}
	return found
}

// TestSetupEndsWhenAllIsRead: a loss at the end of set-up leaves the addresses and routes unread at first. What set-up did
// to them is learned nevertheless.
func TestSetupEndsWhenAllIsRead(t *testing.T) {
	r := added(t, scenario.OKD())
	must(t, r.DeleteRoute(scenario.PodPath, scenario.BondIf, defaultRoute))
	must(t, r.Release(scenario.PodPath, "net2"))
	r.clock.turn(2 * time.Minute)
	r.wantState(bond.StateReady)
	if found := r.routes(defaultRoute); len(found) != 0 || r.record().Setup.Complete.IsZero() {
		t.Errorf("set-up %+v, and the route is back: %v", r.record().Setup, found)
	}
}

// TestRouteRemovedInSetupStaysAway: with default-route, Multus deletes the bond's default route after each ADD.
func TestRouteRemovedInSetupStaysAway(t *testing.T) {
	r := added(t, scenario.OKD())
	must(t, r.DeleteRoute(scenario.PodPath, scenario.BondIf, defaultRoute))
	if out := r.quiet(); out.Status.State != bond.StateReady {
		t.Errorf("state %s: %s", out.Status.State, out.Status.Reason)
	}
	r.complete()
	must(t, r.DeleteBond(scenario.PodPath, scenario.BondIf))
	r.wantState(bond.StateReady)
	if found := r.routes(defaultRoute); len(found) != 0 {
		t.Errorf("the route is back: %v", found)
	}
	if found := r.routes(netip.MustParsePrefix("192.168.7.0/24")); len(found) != 1 {
		t.Errorf("the route that set-up kept is there %d times", len(found))
	}
}

// tuned makes the changes of a chain of tuning, sbr and vrf.
func tuned(r *fixture) {
	r.t.Helper()
	must(r.t, r.SetMTU(scenario.PodPath, scenario.BondIf, 1300))
	must(r.t, r.SetSettings(scenario.PodPath, scenario.BondIf, chainSettings()))
	must(r.t, r.AddVRF(scenario.PodPath, "vrf9", 100))
	must(r.t, r.SetUpper(scenario.PodPath, scenario.BondIf, "vrf9"))
	must(r.t, r.AddAddress(scenario.PodPath, scenario.BondIf, netip.MustParsePrefix("fd00::66/64"))) // the cycle took it
	must(r.t, r.AddAddress(scenario.PodPath, scenario.BondIf, netip.MustParsePrefix("10.9.9.9/24")))
	must(r.t, r.AddRoute(scenario.PodPath, scenario.BondIf, bond.Route{Dst: defaultRoute, Gateway: gateway, Table: new(100)}))
	must(r.t, r.SetSettings(scenario.PodPath, "net1", bond.SettingsChange{Sysctls: chainSettings().Sysctls}))
}

func chainSettings() bond.SettingsChange {
	return bond.SettingsChange{TxQLen: new(77), Flags: new(bond.FlagMulticast | bond.FlagPromisc), Sysctls: []bond.Sysctl{
		{Family: "ipv4", Name: "arp_notify", Value: 1}, {Family: "ipv6", Name: "ndisc_notify", Value: 1},
	}}
}

func (r *fixture) wantTuned() {
	r.t.Helper()
	o, err := r.Observe(r.t.Context(), r.record())
	must(r.t, err)
	b := o.Bond
	if b.MTU != 1300 || b.Settings.TxQLen != 77 || b.Settings.Flags != bond.FlagMulticast|bond.FlagPromisc || b.Upper == nil || b.Upper.Name != "vrf9" {
		r.t.Errorf("MTU %d, txqlen %d, flags %s, master %v", b.MTU, b.Settings.TxQLen, b.Settings.Flags, b.Upper)
	}
	for _, s := range []bond.LinkSettings{b.Settings, o.Members[0].Settings} {
		for _, want := range chainSettings().Sysctls {
			if !slices.Contains(s.Sysctls(), want) {
				r.t.Errorf("sysctl %s is not set", want)
			}
		}
	}
	if !slices.Contains(b.Addresses, netip.MustParsePrefix("10.9.9.9/24")) {
		r.t.Errorf("addresses %v", b.Addresses)
	}
	if found := r.routes(defaultRoute); len(found) != 1 || found[0].Table == nil || *found[0].Table != 100 {
		r.t.Errorf("default routes %v, want one in table 100", found)
	}
}

// TestSetupSurvivesLosses: settings that were made during set-up are learned and restored after every loss, also
// by the next agent.
func TestSetupSurvivesLosses(t *testing.T) {
	for name, lose := range map[string]func(*fixture){
		"nothing":      func(*fixture) {},
		"bond deleted": func(r *fixture) { must(r.t, r.DeleteBond(scenario.PodPath, scenario.BondIf)) },
		"bond down":    func(r *fixture) { must(r.t, r.SetDown(scenario.PodPath, scenario.BondIf)) },
		"VF lost": func(r *fixture) {
			must(r.t, r.UnbindVF(r.VFs[0]))
			r.convergeUntilIdle()
			must(r.t, r.BindVF(r.VFs[0]))
		},
		"agent's memory": func(r *fixture) { must(r.t, r.DeleteBond(scenario.PodPath, scenario.BondIf)); r.restart() },
	} {
		t.Run(name, func(t *testing.T) {
			r := added(t, scenario.OKD())
			tuned(r)
			for range 2 { // the VRF sets the bond down and up, which is first a loss
				r.convergeUntilIdle()
			}
			r.wantTuned()
			r.complete()
			r.wantTuned()
			lose(r)
			r.wantState(bond.StateReady)
			r.wantTuned()
			r.quiet()
		})
	}
}

// TestSourceBasedRoutingIsRetained: sbr moves the bond's routes, including the kernel's own, to another table.
func TestSourceBasedRoutingIsRetained(t *testing.T) {
	own := netip.MustParsePrefix("10.56.217.0/24")
	for name, lose := range map[string]func(*fixture){
		"bond deleted": func(r *fixture) { must(r.t, r.DeleteBond(scenario.PodPath, scenario.BondIf)) },
		"bond down":    func(r *fixture) { must(r.t, r.SetDown(scenario.PodPath, scenario.BondIf)) },
	} {
		t.Run(name, func(t *testing.T) {
			r := added(t, scenario.OKD())
			must(t, r.AddRoute(scenario.PodPath, scenario.BondIf, bond.Route{Dst: own, Table: new(100), Proto: 2}))
			must(t, r.AddRoute(scenario.PodPath, scenario.BondIf, bond.Route{Dst: defaultRoute, Gateway: gateway, Table: new(100)}))
			must(t, r.DeleteRoute(scenario.PodPath, scenario.BondIf, defaultRoute))
			must(t, r.DeleteRoute(scenario.PodPath, scenario.BondIf, own))
			r.complete()
			lose(r)
			r.wantState(bond.StateReady)
			for _, dst := range []netip.Prefix{own, defaultRoute} {
				if found := r.routes(dst); len(found) != 1 || found[0].Table == nil || *found[0].Table != 100 {
					t.Errorf("routes %v, want one in table 100", found)
				}
			}
			r.quiet()
		})
	}
}

// TestDerivedMTUIsLearned: another writer may change an MTU that was not requested.
func TestDerivedMTUIsLearned(t *testing.T) {
	r := added(t, scenario.OKD())
	r.update(func(rec *bond.Record) { rec.Spec.DerivedMTU = true })
	r.complete()
	must(t, r.SetMTU(scenario.PodPath, scenario.BondIf, 1280))
	r.wantState(bond.StateReady)
	if l, _ := r.Link(scenario.PodPath, scenario.BondIf); l.MTU != 1280 || r.record().Spec.MTU != 1280 {
		t.Errorf("MTU %d, recorded %d", l.MTU, r.record().Spec.MTU)
	}
}

// TestEnforceLinks: with "enforce": "links" only links are enforced, and everything is restored after a loss.
func TestEnforceLinks(t *testing.T) {
	r := added(t, scenario.OKD())
	r.update(func(rec *bond.Record) { rec.Spec.Enforce = bond.EnforceLinks })
	r.complete()
	must(t, r.SetMTU(scenario.PodPath, scenario.BondIf, 1280))
	must(t, r.DeleteRoute(scenario.PodPath, scenario.BondIf, defaultRoute))
	r.quiet()
	must(t, r.DeleteBond(scenario.PodPath, scenario.BondIf))
	r.wantState(bond.StateReady)
	if l, _ := r.Link(scenario.PodPath, scenario.BondIf); l.MTU != 1280 || len(r.routes(defaultRoute)) != 0 || len(r.routes(netip.MustParsePrefix("192.168.7.0/24"))) != 1 {
		t.Errorf("MTU %d, default routes %v", l.MTU, r.routes(defaultRoute))
	}
}

// TestContestedSettingIsAdopted: the value of another writer that insists is adopted and reported.
func TestContestedSettingIsAdopted(t *testing.T) {
	for name, insist := range map[string]func(*fixture){
		"MTU":     func(r *fixture) { must(r.t, r.SetMTU(scenario.PodPath, scenario.BondIf, 1290)) },
		"route":   func(r *fixture) { must(r.t, r.DeleteRoute(scenario.PodPath, scenario.BondIf, defaultRoute)) },
		"address": func(r *fixture) { must(r.t, r.FlushAddresses(scenario.PodPath, scenario.BondIf)) },
	} {
		t.Run(name, func(t *testing.T) {
			r := added(t, scenario.OKD())
			r.complete()
			reverted := 0
			for range 6 {
				before := r.Changes()
				insist(r)
				out := r.wantState(bond.StateReady)
				if r.Changes() != before {
					reverted++
				}
				if reverted == 3 && r.Changes() == before && !strings.Contains(strings.Join(out.Status.Warnings, "\n"), "another writer changed") {
					t.Fatalf("adopted silently: %q", out.Status.Warnings)
				}
				r.clock.turn(time.Second)
			}
			if reverted != 3 {
				t.Errorf("reverted %d times, want 3", reverted)
			}
			r.quiet()
		})
	}
}

// TestLossesAreNoContest: a bond that is set down or deleted repeatedly loses its routes; no writer insists on their
// absence.
func TestLossesAreNoContest(t *testing.T) {
	r := added(t, scenario.OKD())
	r.complete()
	for i := range 12 {
		if i%2 == 0 {
			must(t, r.SetDown(scenario.PodPath, scenario.BondIf))
		} else {
			must(t, r.DeleteBond(scenario.PodPath, scenario.BondIf))
		}
		out := r.wantState(bond.StateReady)
		if len(r.routes(defaultRoute)) != 1 || len(out.Record.Contested) != 0 {
			t.Fatalf("after %d losses: default routes %v, contested %v", i+1, r.routes(defaultRoute), out.Record.Contested)
		}
	}
}

// TestSlowChangesAreReverted: two changes in an hour are not a contest.
func TestSlowChangesAreReverted(t *testing.T) {
	r := added(t, scenario.OKD())
	r.complete()
	for range 8 {
		must(t, r.SetMTU(scenario.PodPath, scenario.BondIf, 1290))
		r.wantState(bond.StateReady)
		if l, _ := r.Link(scenario.PodPath, scenario.BondIf); l.MTU != 1400 {
			t.Fatalf("MTU %d", l.MTU)
		}
		r.clock.turn(30 * time.Second)
	}
}

// TestLostVRFIsNamed: a master that is gone cannot be restored, and the bond is not Ready without it.
func TestLostVRFIsNamed(t *testing.T) {
	r := added(t, scenario.OKD())
	tuned(r)
	r.convergeUntilIdle()
	r.complete()
	must(t, r.DeleteLink(scenario.PodPath, "vrf9"))
	must(t, r.DeleteBond(scenario.PodPath, scenario.BondIf))
	out := r.convergeUntilIdle()
	if out.Status.State != bond.StateStuck || !strings.Contains(out.Status.Reason, "vrf9") {
		t.Fatalf("state %s: %s", out.Status.State, out.Status.Reason)
	}
	must(t, r.AddVRF(scenario.PodPath, "vrf9", 100))
	r.wantState(bond.StateReady)
	r.wantTuned()
}

// TestRemovedMasterIsForgotten: a bond that exists loses its master only if another writer deletes it or releases the
// bond. That sets the bond down and up, which is a loss for everything else.
func TestRemovedMasterIsForgotten(t *testing.T) {
	for name, remove := range map[string]func(*fixture) error{
		"VRF deleted":   func(r *fixture) error { return r.DeleteLink(scenario.PodPath, "vrf9") },
		"bond released": func(r *fixture) error { return r.SetUpper(scenario.PodPath, scenario.BondIf, "") },
	} {
		t.Run(name, func(t *testing.T) {
			r := ready(t, scenario.OKD())
			must(t, r.AddVRF(scenario.PodPath, "vrf9", 100))
			must(t, r.SetUpper(scenario.PodPath, scenario.BondIf, "vrf9"))
			other := netip.MustParsePrefix("198.51.100.0/24")
			must(t, r.AddRoute(scenario.PodPath, scenario.BondIf, bond.Route{Dst: other, Table: new(100)}))
			extra := netip.MustParsePrefix("203.0.113.0/24")
			must(t, r.AddRoute(scenario.PodPath, scenario.BondIf, bond.Route{Dst: extra}))
			for range 2 {
				r.wantState(bond.StateReady)
			}
			if l := r.record().Learned; l.Upper == nil || len(l.Routes) != 2 {
				t.Fatalf("learned master %v, routes %v", l.Upper, l.Routes)
			}
			must(t, remove(r))
			out := r.wantState(bond.StateReady)
			if l := out.Record.Learned; l.Upper != nil || r.hasRoute(other) || !r.hasRoute(extra) || len(l.Routes) != 1 {
				t.Errorf("learned master %v, routes %v\n%s", l.Upper, l.Routes, r.Node)
			}
			r.quiet()
		})
	}
}

// TestEvidenceEndsSetup: evidence ends set-up immediately. While a runtime reports that there is none, set-up does not
// end.
func TestEvidenceEndsSetup(t *testing.T) {
	r := added(t, scenario.OKD())
	evidence, known := "", true
	r.engine = reconcile.New(reconcile.Config{Kernel: r.Fake, Store: r.store, Now: r.clock.Now,
		Setup: func(*bond.Record) (string, bool) { return evidence, known }})
	r.clock.turn(time.Hour)
	out, err := r.converge()
	must(t, err)
	if !out.Record.InSetup() || out.RetryAfter == 0 || out.RetryAfter > 4*time.Second {
		t.Fatalf("in set-up %t, asked again after %s", out.Record.InSetup(), out.RetryAfter)
	}
	must(t, r.DeleteRoute(scenario.PodPath, scenario.BondIf, defaultRoute)) // before the evidence, seen after it
	evidence = bond.EvidenceContainer
	r.quiet()
	if rec := r.record(); rec.InSetup() || rec.Setup.Evidence != bond.EvidenceContainer || len(r.routes(defaultRoute)) != 0 {
		t.Errorf("set-up %+v, default routes %v", rec.Setup, r.routes(defaultRoute))
	}
}

// TestSetupEndsAfterTheClockWasSetBack: the waits begin again, and do not last as long as the clock was ahead.
func TestSetupEndsAfterTheClockWasSetBack(t *testing.T) {
	r := added(t, scenario.OKD())
	r.clock.turn(-24 * time.Hour)
	if out := r.quiet(); !out.Record.InSetup() {
		t.Fatalf("set-up ends at once: %+v", out.Record.Setup)
	}
	r.clock.turn(2 * time.Minute)
	if out := r.quiet(); out.Record.InSetup() {
		t.Errorf("set-up does not end: %+v", out.Record.Setup)
	}
}

// TestOlderRecordIsEnforced: a record of an older version has no set-up. What it requests is enforced, and what other
// writers add is learned.
func TestOlderRecordIsEnforced(t *testing.T) {
	r := ready(t, scenario.OKD())
	must(t, r.AddAddress(scenario.PodPath, scenario.BondIf, netip.MustParsePrefix("10.9.9.9/24")))
	must(t, r.DeleteRoute(scenario.PodPath, scenario.BondIf, defaultRoute))
	r.wantState(bond.StateReady)
	must(t, r.DeleteBond(scenario.PodPath, scenario.BondIf))
	r.wantState(bond.StateReady)
	o, err := r.Observe(t.Context(), r.record())
	must(t, err)
	if len(r.routes(defaultRoute)) != 1 || !slices.Contains(o.Bond.Addresses, netip.MustParsePrefix("10.9.9.9/24")) {
		t.Errorf("default routes %v, addresses %v", r.routes(defaultRoute), o.Bond.Addresses)
	}
}
