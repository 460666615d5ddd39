package reconcile_test

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

// TestAddressWithAnotherPrefixLength: a link has an IPv6 address only once, so one with another length is replaced.
func TestAddressWithAnotherPrefixLength(t *testing.T) {
	r := ready(t, scenario.OKD())
	want := netip.MustParsePrefix("fd00::66/64")
	ref := plan.LinkRefOf(bond.InPod, &r.observedBond().Link)
	must(t, r.Apply(t.Context(), r.Record, plan.DelAddress{MemberIndex: plan.OnBond, Bond: ref, Prefix: want}))
	must(t, r.Apply(t.Context(), r.Record, plan.AddAddress{MemberIndex: plan.OnBond, Bond: ref, Prefix: netip.MustParsePrefix("fd00::66/80")}))
	changes := r.Changes()
	var announced []netip.Addr
	r.FailApplyIf(func(a plan.Action) error {
		if is, ok := a.(plan.Announce); ok {
			announced = append(announced, is.Addresses...)
		}
		return nil
	})
	r.wantState(bond.StateReady)
	if once := slices.Compact(slices.Clone(announced)); len(announced) != 2 || len(once) != 2 {
		t.Errorf("announced %v, want both addresses once", announced)
	}
	if got := r.observedBond().Addresses; !slices.Contains(got, want) || len(got) != 2 {
		t.Errorf("addresses %v\n%s", got, strings.Join(r.ChangeLog()[changes:], "\n"))
	}
}

// TestNothingIsRemovedInVain: an address that cannot be replaced now, because a pod keeps undoing repairs, stays.
func TestNothingIsRemovedInVain(t *testing.T) {
	r := ready(t, scenario.OKD())
	r.clock.turn(2 * time.Minute) // since ADD
	ref := plan.LinkRefOf(bond.InPod, &r.observedBond().Link)
	for _, p := range []string{"fd00::66/64", "10.56.217.66/24", "fd00::66/64"} {
		must(t, r.Apply(t.Context(), r.Record, plan.DelAddress{MemberIndex: plan.OnBond, Bond: ref, Prefix: netip.MustParsePrefix(p)}))
		_, _ = r.converge()
	}
	must(t, r.Apply(t.Context(), r.Record, plan.DelAddress{MemberIndex: plan.OnBond, Bond: ref, Prefix: netip.MustParsePrefix("fd00::66/64")}))
	other := netip.MustParsePrefix("fd00::66/80")
	must(t, r.Apply(t.Context(), r.Record, plan.AddAddress{MemberIndex: plan.OnBond, Bond: ref, Prefix: other}))
	out, _ := r.converge()
	if got := r.observedBond().Addresses; !slices.Contains(got, other) || out.RetryAfter == 0 {
		t.Errorf("addresses %v, retry after %s", got, out.RetryAfter)
	}
	out = r.wantState(bond.StateReady)
	if got := r.observedBond().Addresses; !slices.Contains(got, netip.MustParsePrefix("fd00::66/64")) || len(out.Record.Contested) > 0 {
		t.Errorf("addresses %v, contested %v", got, out.Record.Contested)
	}
}

// TestRouteWithAnotherMTU: the kernel does not distinguish IPv6 routes by MTU, so one with another MTU is replaced.
func TestRouteWithAnotherMTU(t *testing.T) {
	for _, dst := range []string{"2001:db8:7::/48", "203.0.113.0/24"} {
		r := newFixture(t, scenario.OKD())
		want := bond.Route{Dst: netip.MustParsePrefix(dst), MTU: 1300}
		must(t, r.engine.Update(t.Context(), r.Record.Key, func(rec *bond.Record) error {
			rec.Routes = append(rec.Routes, want)
			return nil
		}))
		r.wantState(bond.StateReady)
		ref := plan.LinkRefOf(bond.InPod, &r.observedBond().Link)
		other := want
		other.MTU = 1250
		find := func() (found []bond.Route) {
			for _, have := range r.observedBond().Routes {
				if have.Dst == want.Dst {
					found = append(found, have)
				}
			}
			return found
		}
		must(t, r.Apply(t.Context(), r.Record, plan.DeleteRoute{MemberIndex: plan.OnBond, Bond: ref, Route: find()[0]}))
		must(t, r.Apply(t.Context(), r.Record, plan.AddRoute{MemberIndex: plan.OnBond, Bond: ref, Route: other}))
		r.wantState(bond.StateReady)
		if got := find(); len(got) != 1 || got[0].MTU != 1300 {
			t.Errorf("routes to %s: %+v", dst, got)
		}
	}
}

// lossy reports success for actions of one type, which it does not apply.
type lossy[dropped plan.Action] struct {
	*linktest.Fake
	drops int
}

func (l *lossy[dropped]) Apply(ctx context.Context, r *bond.Record, a plan.Action) error {
	if _, drop := a.(dropped); drop {
		l.drops++
		return nil
	}
	return l.Fake.Apply(ctx, r, a)
}

// TestActionWithoutEffect: it counts as failed, is retried with a back-off, logged once, and reported with what was
// observed.
func TestActionWithoutEffect(t *testing.T) {
	r := ready(t, scenario.OKD())
	core, logs := observer.New(zap.WarnLevel)
	kernel := &lossy[plan.SetMTU]{Fake: r.Fake}
	r.engine = reconcile.New(reconcile.Config{Kernel: kernel, Store: r.store, Now: r.clock.Now, Log: zap.New(core)})
	must(t, r.SetMTU(scenario.PodPath, scenario.BondIf, 1280))
	start := r.clock.Now()
	var out reconcile.Outcome
	for r.clock.Now().Sub(start) < time.Minute {
		out, _ = r.converge()
		if out.RetryAfter == 0 {
			t.Fatalf("no retry; %s: %s", out.Status.State, out.Status.Reason)
		}
		r.clock.turn(out.RetryAfter)
	}
	const links = 3 // the members have the bond's MTU
	if kernel.drops > 15*links {
		t.Errorf("%d attempts in a minute", kernel.drops)
	}
	logged := map[int64]int{}
	for _, line := range logs.FilterMessage("action had no effect").All() {
		logged[line.ContextMap()["times"].(int64)]++
	}
	if want := map[int64]int{1: links, 2: links, 4: links, 8: links}; !maps.Equal(logged, want) {
		t.Errorf("lines by the number of times: %v, want %v", logged, want)
	}
	if out.Status.State != bond.StateStuck || !strings.Contains(out.Status.Reason, "the bond has MTU 1280, not 1400") || !strings.Contains(out.Status.Reason, "had no effect") {
		t.Errorf("%s: %s", out.Status.State, out.Status.Reason)
	}
	if len(out.Record.Contested) > 0 {
		t.Errorf("taken for another writer's: %v", out.Record.Contested)
	}
}

// TestAddressWithoutEffectBesideAMemberThatStaysAway: observations without addresses, for the member's sake, do not
// show whether one was added. It is not taken for another writer's change, and not adopted as absent.
func TestAddressWithoutEffectBesideAMemberThatStaysAway(t *testing.T) {
	r := ready(t, scenario.OKD())
	r.wantState(bond.StateReady)
	r.clock.turn(2 * time.Minute) // since ADD
	kernel := &lossy[plan.AddAddress]{Fake: r.Fake}
	r.engine = reconcile.New(reconcile.Config{Kernel: kernel, Store: r.store, Now: r.clock.Now})
	must(t, r.FlushAddresses(scenario.PodPath, scenario.BondIf))
	must(t, r.MoveToHost(scenario.PodPath, "net2"))
	r.Claim(r.Record.Members[1].PCI, "/run/netns/other")
	out, _ := r.converge()
	if kernel.drops != len(r.Record.Addresses) || out.RetryAfter == 0 || !strings.Contains(out.Status.Reason, "had no effect") {
		t.Errorf("%d attempts, retry after %s: %s", kernel.drops, out.RetryAfter, out.Status.Reason)
	}
	if len(out.Record.Contested) > 0 || len(out.Record.Addresses) != len(r.Record.Addresses) {
		t.Errorf("addresses %v, contested %v", out.Record.Addresses, out.Record.Contested)
	}
}

// TestActionWithoutEffectBeforeAddressesAreRead: it is the error of a reconcile also if nothing else can be done then.
func TestActionWithoutEffectBeforeAddressesAreRead(t *testing.T) {
	r := ready(t, scenario.OKD())
	r.engine = reconcile.New(reconcile.Config{Kernel: &lossy[plan.Enslave]{Fake: r.Fake}, Store: r.store, Now: r.clock.Now})
	must(t, r.Release(scenario.PodPath, "net2"))
	r.PostponeNetwork(2)
	if _, err := r.converge(); err == nil || !strings.Contains(err.Error(), "had no effect") {
		t.Errorf("error %v", err)
	}
}

// TestFailedAnnouncementIsNoFailure: if a bond's addresses cannot be announced to its neighbours, the bond is made and
// its ADD succeeds. The log reports what failed.
func TestFailedAnnouncementIsNoFailure(t *testing.T) {
	r := newFixture(t, scenario.OKD())
	core, logs := observer.New(zap.WarnLevel)
	r.engine = reconcile.New(reconcile.Config{Kernel: r.Fake, Store: r.store, Log: zap.New(core), Now: r.clock.Now})
	tried := 0
	r.FailApplyIf(func(a plan.Action) error {
		if _, is := a.(plan.Announce); is {
			tried++
			return errors.New("no buffer space available")
		}
		return nil
	})
	out, err := r.converge()
	if err != nil || out.Status.State != bond.StateReady {
		t.Fatalf("%s (%s): %v", out.Status.State, out.Status.Reason, err)
	}
	announced, failed := logs.FilterMessage("cannot announce addresses to neighbours").Len(), logs.FilterMessage("action failed").Len()
	if tried != 1 || announced != 1 || failed != 0 {
		t.Errorf("announced %d times, logged as such %d times and as a failure %d times; want 1, 1, 0", tried, announced, failed)
	}
}
