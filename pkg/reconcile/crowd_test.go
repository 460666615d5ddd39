package reconcile_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// crowdOfAddresses and crowdOfRoutes are more than a record stores.
func crowdOfAddresses() (all []netip.Prefix) {
	for i := range bond.MaxLearnedAddresses + 20 {
		all = append(all, netip.MustParsePrefix(fmt.Sprintf("10.77.%d.1/32", i)))
	}
	return all
}

func crowdOfRoutes() (all []bond.Route) {
	for i := range bond.MaxLearnedRoutes + 20 {
		all = append(all, bond.Route{Dst: netip.MustParsePrefix(fmt.Sprintf("10.%d.%d.0/24", 100+i/256, i%256)), Proto: 4})
	}
	return all
}

// TestTooManyAddressesAndRoutes: the record stays small and has everything requested. What was not recorded is reported
// as missing until it is back.
func TestTooManyAddressesAndRoutes(t *testing.T) {
	r := added(t, scenario.OKD())
	r.complete()
	requested := r.record()
	must(t, r.AddAddresses(scenario.PodPath, scenario.BondIf, crowdOfAddresses()))
	must(t, r.AddRoutes(scenario.PodPath, scenario.BondIf, crowdOfRoutes()))
	r.wantState(bond.StateReady)
	l := r.record().Learned
	if len(l.Addresses) != bond.MaxLearnedAddresses || l.AddressesLeft != 20 || len(l.Routes) != 0 || l.RoutesLeft != len(crowdOfRoutes()) {
		t.Fatalf("%d addresses are kept, %d are not; %d routes are kept, %d are not", len(l.Addresses), l.AddressesLeft, len(l.Routes), l.RoutesLeft)
	}
	r.quiet()
	must(t, r.AddAddresses(scenario.PodPath, scenario.BondIf, []netip.Prefix{netip.MustParsePrefix("10.78.0.1/32")}))
	r.quiet()
	if now := r.record().Learned; !slices.Equal(now.Addresses, l.Addresses) {
		t.Errorf("another address changed those that are kept: %v, were %v", now.Addresses, l.Addresses)
	}

	must(t, r.DeleteBond(scenario.PodPath, scenario.BondIf))
	out, err := r.converge()
	must(t, err)
	if n := len(slices.DeleteFunc(slices.Clone(out.Plan.Findings), func(f plan.Finding) bool { return f.Code != plan.NotRecorded })); n != 2 || out.Status.State != bond.StateStuck {
		t.Errorf("%d findings of what was not kept, want 2; state %s: %+v", n, out.Status.State, out.Plan.Findings)
	}
	for _, a := range requested.Addresses {
		if !slices.Contains(out.Observed.Bond.Addresses, a.Prefix) {
			t.Errorf("the bond does not have %s, which was requested", a.Prefix)
		}
	}
	if have := out.Observed.Bond.Addresses; len(have) != len(requested.Addresses)+bond.MaxLearnedAddresses {
		t.Errorf("the bond has %d addresses", len(have))
	}
	must(t, r.AddAddresses(scenario.PodPath, scenario.BondIf, append(crowdOfAddresses(), netip.MustParsePrefix("10.78.0.1/32"))))
	must(t, r.AddRoutes(scenario.PodPath, scenario.BondIf, crowdOfRoutes()))
	r.wantState(bond.StateReady)
}

// TestNetworkUnread: links are repaired although addresses and routes cannot be read. Reading them is retried soon.
func TestNetworkUnread(t *testing.T) {
	r := added(t, scenario.OKD())
	r.complete()
	must(t, r.DeleteRoute(scenario.PodPath, scenario.BondIf, defaultRoute))
	must(t, r.Release(scenario.PodPath, "net1"))
	r.HideNetwork(1 << 20)
	before := r.record()
	out, err := r.converge()
	must(t, err)
	if len(out.Unattached()) > 0 || out.Status.State != bond.StateDegraded || out.RetryAfter == 0 || out.RetryAfter > time.Second {
		t.Errorf("not attached: %v; state %s (%s); retried after %s", out.Unattached(), out.Status.State, out.Status.Reason, out.RetryAfter)
	}
	if now := r.record(); !slices.Equal(now.Routes, before.Routes) || !slices.Equal(now.Addresses, before.Addresses) || !reflect.DeepEqual(now.Learned, before.Learned) {
		t.Errorf("something was learned:\n%+v\n%+v", now, before)
	}
	r.HideNetwork(0)
	if found := r.routes(defaultRoute); len(found) != 0 {
		t.Errorf("the route is there: %v", found)
	}
	r.wantState(bond.StateReady)
	if found := r.routes(defaultRoute); len(found) != 1 {
		t.Errorf("the route is there %d times, want once", len(found))
	}
}
