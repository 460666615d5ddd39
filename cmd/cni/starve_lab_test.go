//go:build lab

package main

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// refusing is a bond on real VFs that is recorded with an option and a route that the kernel rejects, and its agent's
// engine.
func refusing(t *testing.T) (*direct, *reconcile.Engine) {
	t.Helper()
	p := newPod(t)
	p.attachVFs()
	d := p.direct("1.1.0", map[string]any{"mode": 1, "failOverMac": 1, "miimon": 100})
	d.add()
	e := d.engine()
	err := e.Update(t.Context(), d.key(), func(r *bond.Record) error {
		r.Setup.Complete = r.Created
		r.Spec.Options[bond.OptMiimon], r.Spec.Options[bond.OptUpdelay] = "0", "200" // rejected without miimon
		r.Addresses = []bond.Address{{Prefix: netip.MustParsePrefix("192.0.2.7/24")}, {Prefix: netip.MustParsePrefix("2001:db8::7/64")}}
		r.Routes = []bond.Route{
			{Dst: netip.MustParsePrefix("198.51.100.0/24"), Gateway: netip.MustParseAddr("203.0.113.1")}, // not reachable
			{Dst: netip.MustParsePrefix("198.18.0.0/15"), Gateway: netip.MustParseAddr("192.0.2.1")},
			{Dst: netip.MustParsePrefix("2001:db8:7::/48"), Gateway: netip.MustParseAddr("2001:db8::1"), MTU: 1300},
		}
		return nil
	})
	kit.Must(t, err)
	return d, e
}

// checkRest checks everything except what the kernel rejects.
func checkRest(t *testing.T, when string, out *reconcile.Outcome) {
	t.Helper()
	b := out.Observed.Bond
	if b == nil {
		t.Fatalf("%s: no bond", when)
	}
	for _, p := range []string{"192.0.2.7/24", "2001:db8::7/64"} {
		if !slices.Contains(b.Addresses, netip.MustParsePrefix(p)) {
			t.Errorf("%s: address %s is missing: %v", when, p, b.Addresses)
		}
	}
	for dst, mtu := range map[string]int{"198.18.0.0/15": 0, "2001:db8:7::/48": 1300} {
		if !slices.ContainsFunc(b.Routes, func(r bond.Route) bool { return r.Dst == netip.MustParsePrefix(dst) && r.MTU == mtu }) {
			t.Errorf("%s: route %s is missing: %v", when, dst, b.Routes)
		}
	}
	if !b.Up || len(out.Unattached()) > 0 {
		t.Errorf("%s: bond up %t, unattached %v", when, b.Up, out.Unattached())
	}
}

// TestRejectionsHoldNothingUp: an option and a route that the real kernel rejects leave the bond up, with its members,
// addresses and other routes. They delay neither its admin state nor its recreation.
func TestRejectionsHoldNothingUp(t *testing.T) {
	d, e := refusing(t)
	for _, step := range []struct {
		when string
		ip   []string
	}{
		{"addresses, routes and the option are new", nil},
		{"the bond was set down", []string{"-n", d.name, "link", "set", "bond0", "down"}},
		{"addresses were flushed", []string{"-n", d.name, "addr", "flush", "dev", "bond0"}},
		{"", []string{"-n", d.name, "addr", "del", "2001:db8::7/64", "dev", "bond0"}},
		{"IPv6 address with another length", []string{"-n", d.name, "addr", "add", "2001:db8::7/80", "dev", "bond0", "nodad"}},
		{"IPv6 route with another MTU", []string{"-n", d.name, "-6", "route", "change", "2001:db8:7::/48", "via", "2001:db8::1", "dev", "bond0", "mtu", "1280"}},
	} {
		if step.ip != nil {
			d.ip(step.ip...)
		}
		if step.when == "" {
			continue
		}
		e = d.engine() // one that has repaired nothing yet: repairs of a kind are limited
		out, err := e.Converge(t.Context(), d.key())
		if err == nil {
			t.Errorf("%s: the kernel rejected nothing", step.when)
		}
		t.Logf("%s: %v; applied %v", step.when, err, out.Applied)
		checkRest(t, step.when, &out)
	}
	// A bond cannot be created with an option that the kernel rejects; with the route it can.
	err := e.Update(t.Context(), d.key(), func(r *bond.Record) error {
		r.Spec.Options[bond.OptMiimon] = "100"
		delete(r.Spec.Options, bond.OptUpdelay)
		return nil
	})
	kit.Must(t, err)
	d.ip("-n", d.name, "link", "del", "bond0")
	out, _ := e.Converge(t.Context(), d.key())
	checkRest(t, "the bond was deleted", &out)
}
