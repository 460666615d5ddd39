package reconcile_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

var errRejected = errors.New("rejected")

// reject makes the kernel reject all actions that match.
func (r *fixture) reject(match func(plan.Action) bool) {
	r.FailApplyIf(func(a plan.Action) error {
		if match(a) {
			return errRejected
		}
		return nil
	})
}

func isSetOptions(a plan.Action) bool { _, ok := a.(plan.SetOptions); return ok }

// observedBond is the bond as observed in the kernel.
func (r *fixture) observedBond() *bond.ObservedBond {
	r.t.Helper()
	obs, err := r.Observe(r.t.Context(), r.Record)
	must(r.t, err)
	if obs.Bond == nil {
		r.t.Fatalf("no bond\n%s", r.Node)
	}
	return obs.Bond
}

// TestRejectedOptionLeavesTheBondUpAndAddressed: what does not depend on an option is repaired in the same reconcile.
func TestRejectedOptionLeavesTheBondUpAndAddressed(t *testing.T) {
	r := ready(t, scenario.OKD())
	r.reject(isSetOptions)
	must(t, r.SetOption(scenario.PodPath, scenario.BondIf, bond.OptMiimon, "200"))
	must(t, r.SetMTU(scenario.PodPath, scenario.BondIf, 1280))
	must(t, r.FlushAddresses(scenario.PodPath, scenario.BondIf))
	must(t, r.SetDown(scenario.PodPath, scenario.BondIf))
	out, err := r.converge()
	if !errors.Is(err, errRejected) {
		t.Errorf("error %v", err)
	}
	b := r.observedBond()
	if !b.Up || len(b.Addresses) != 2 || b.MTU != 1400 || len(b.Routes) < 2 {
		t.Errorf("up %t, addresses %v, MTU %d, routes %v", b.Up, b.Addresses, b.MTU, b.Routes)
	}
	for range 6 {
		r.clock.turn(out.RetryAfter)
		out, _ = r.converge()
	}
	if out.Status.State != bond.StateStuck || !strings.Contains(out.Status.Reason, "miimon") {
		t.Errorf("status %s: %s", out.Status.State, out.Status.Reason)
	}
	r.FailApplyIf(nil)
	r.wantState(bond.StateReady)
}

// TestRejectedOptionRetainsItsBackoff: another option is set immediately, and its success causes no attempt of the
// first one.
func TestRejectedOptionRetainsItsBackoff(t *testing.T) {
	options := scenario.OKD()
	options[bond.OptResendIgmp] = "1"
	r := ready(t, options)
	attempts := 0
	r.FailApplyIf(func(a plan.Action) error {
		if o, ok := a.(plan.SetOptions); ok && o.Options[bond.OptMiimon] != "" {
			attempts++
			return errRejected
		}
		return nil
	})
	must(t, r.SetOption(scenario.PodPath, scenario.BondIf, bond.OptMiimon, "200"))
	out := r.repeat(6)
	before, wait := attempts, out.RetryAfter
	must(t, r.SetOption(scenario.PodPath, scenario.BondIf, bond.OptResendIgmp, "7"))
	out, _ = r.converge()
	if got := r.observedBond().Options[bond.OptResendIgmp]; got != "1" {
		t.Errorf("resendIgmp is %s, want it back at once", got)
	}
	if attempts != before || out.RetryAfter != wait || wait < time.Second {
		t.Errorf("%d attempts after %d, retry after %s, want %s", attempts, before, out.RetryAfter, wait)
	}
}

// repeat converges n times, whenever the engine requests it.
func (r *fixture) repeat(n int) reconcile.Outcome {
	r.t.Helper()
	out, _ := r.converge()
	for range n {
		r.clock.turn(out.RetryAfter)
		out, _ = r.converge()
	}
	return out
}

// TestRejectedRouteHoldsNothingUp: other routes are restored, and a deleted bond is recreated, immediately.
func TestRejectedRouteHoldsNothingUp(t *testing.T) {
	r := ready(t, scenario.OKD())
	bad := netip.MustParsePrefix("0.0.0.0/0")
	r.reject(func(a plan.Action) bool { route, ok := a.(plan.AddRoute); return ok && route.Route.Dst == bad })
	must(t, r.FlushRoutes(scenario.PodPath, scenario.BondIf))
	r.repeat(8)
	has := func(dst string) bool {
		return slices.ContainsFunc(r.observedBond().Routes, func(have bond.Route) bool { return have.Dst == netip.MustParsePrefix(dst) })
	}
	if !has("192.168.7.0/24") {
		t.Error("the other route is not back")
	}
	must(t, r.DeleteBond(scenario.PodPath, scenario.BondIf))
	out, _ := r.converge()
	b := r.observedBond()
	if !b.Up || len(b.Addresses) != 2 || len(out.Unattached()) > 0 || !has("192.168.7.0/24") {
		t.Errorf("up %t, addresses %v, unattached %v, routes %v", b.Up, b.Addresses, out.Unattached(), b.Routes)
	}
}

// TestRejectedAddressLeavesTheOther: addresses and the routes through them do not depend on each other.
func TestRejectedAddressLeavesTheOther(t *testing.T) {
	r := ready(t, scenario.OKD())
	r.reject(func(a plan.Action) bool { add, ok := a.(plan.AddAddress); return ok && add.Prefix.Addr().Is4() })
	announced := 0
	r.BeforeApply(func(a plan.Action) {
		if _, ok := a.(plan.Announce); ok {
			announced++
		}
	})
	must(t, r.DeleteBond(scenario.PodPath, scenario.BondIf))
	r.repeat(8)
	b := r.observedBond()
	if want := netip.MustParsePrefix("fd00::66/64"); !slices.Contains(b.Addresses, want) {
		t.Errorf("addresses %v", b.Addresses)
	}
	if announced != 1 {
		t.Errorf("announced %d times, want once: for the address that was added", announced)
	}
}

// TestRejectedMemberSettingLeavesItUp: a member is up although its queue ID is rejected.
func TestRejectedMemberSettingLeavesItUp(t *testing.T) {
	r := ready(t, scenario.OKD())
	must(t, r.engine.Update(t.Context(), r.Record.Key, func(rec *bond.Record) error { rec.Members[0].QueueID = new(uint16(3)); return nil }))
	r.reject(func(a plan.Action) bool { _, ok := a.(plan.SetMemberOptions); return ok })
	must(t, r.SetDown(scenario.PodPath, "net1"))
	_, err := r.converge()
	if l, _ := r.Link(scenario.PodPath, "net1"); !l.Up || !errors.Is(err, errRejected) {
		t.Errorf("net1 is up: %t; error %v", l.Up, err)
	}
}

// TestRecordStaysWhileActionsRemain: three stale plans in a row make an action wait. The bond still exists, and so must
// its record.
func TestRecordStaysWhileActionsRemain(t *testing.T) {
	r := ready(t, scenario.OKD())
	r.FailApplyIf(func(a plan.Action) error {
		if _, ok := a.(plan.DeleteBond); ok {
			return fmt.Errorf("%w: it has another ifindex", bond.ErrStale)
		}
		return nil
	})
	for range 5 {
		if err := r.engine.Release(t.Context(), r.Record.Key); err == nil {
			t.Fatal("released although the bond is still there")
		}
		if _, err := r.store.Load(r.Record.Key); err != nil {
			t.Fatalf("record: %v\n%s", err, r.Node)
		}
	}
	r.FailApplyIf(nil)
	must(t, r.engine.Release(t.Context(), r.Record.Key))
	checkAbsent(t, r)
}

// TestRejectedOptionDoesNotPreventTheBond: a bond that was deleted is recreated with its members, addresses and routes,
// although the kernel rejects one of its options. The option is reported, and set when the kernel accepts it. Members
// wait for failOverMac, which the kernel does not change once there are any: without it their MACs would be changed.
func TestRejectedOptionDoesNotPreventTheBond(t *testing.T) {
	for _, rejected := range []bond.Option{bond.OptMiimon, bond.OptFailOverMac} {
		t.Run(string(rejected), func(t *testing.T) {
			r := ready(t, scenario.OKD())
			r.FailApplyIf(func(a plan.Action) error {
				var options bond.Options
				switch a := a.(type) {
				case plan.CreateBond:
					options = a.Options
				case plan.SetOptions:
					options = a.Options
				}
				if _, has := options[rejected]; has {
					return errRejected
				}
				return nil
			})
			must(t, r.DeleteLink(scenario.PodPath, scenario.BondIf))
			out := r.repeat(6)
			b := r.observedBond()
			if !b.Up || b.HasMembers == (rejected == bond.OptFailOverMac) || len(b.Addresses) != 2 || len(b.Routes) < 2 || b.Options[bond.OptMode] != "active-backup" {
				t.Errorf("up %t, members %t, addresses %v, routes %v, options %v", b.Up, b.HasMembers, b.Addresses, b.Routes, b.Options)
			}
			if out.Status.State != bond.StateStuck || !strings.Contains(out.Status.Reason, string(rejected)) {
				t.Errorf("status %s: %s", out.Status.State, out.Status.Reason)
			}
			r.FailApplyIf(nil)
			r.clock.turn(out.RetryAfter)
			r.wantState(bond.StateReady)
		})
	}
}
