package reconcile_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

// dhcp is an IPAM plugin with a daemon.
type dhcp struct {
	ipam
	got      []netip.Prefix
	obtain   error
	requests int
	before   func() // may be nil
}

func (d *dhcp) Obtain(context.Context, *bond.Record) ([]netip.Prefix, error) {
	d.requests++
	if d.before != nil {
		d.before()
	}
	return d.got, d.obtain
}

// leased is a ready fixture whose only address is a lease.
func leased(t *testing.T) (*fixture, *dhcp) {
	t.Helper()
	r := ready(t, scenario.OKD())
	d := &dhcp{got: []netip.Prefix{r.Record.Addresses[0].Prefix}}
	must(t, r.engine.Update(t.Context(), r.Record.Key, func(rec *bond.Record) error {
		rec.Addresses = rec.Addresses[:1]
		rec.CNI.Config = []byte(`{"ipam":{"type":"dhcp"}}`)
		return nil
	}))
	r.engine = reconcile.New(reconcile.Config{Kernel: r.Fake, Store: r.store, IPAM: d, Now: r.clock.Now})
	return r, d
}

func (r *fixture) has(p netip.Prefix) bool {
	r.t.Helper()
	out, err := r.engine.Inspect(r.t.Context(), r.Record.Key)
	must(r.t, err)
	for _, a := range out.Observed.Bond.Addresses {
		if a == p {
			return true
		}
	}
	return false
}

// TestLeaseIsConfirmedBeforeTheAddressIsUsed: a recreated bond gets its address when the lease is confirmed.
func TestLeaseIsConfirmedBeforeTheAddressIsUsed(t *testing.T) {
	r, d := leased(t)
	must(t, r.DeleteBond(scenario.PodPath, scenario.BondIf))
	out := r.wantState(bond.StateRepairing)
	if !out.LeaseDue || r.has(d.got[0]) {
		t.Fatalf("lease due: %v; address there: %v; want it due, and no address\n%s", out.LeaseDue, r.has(d.got[0]), r.Node)
	}
	must(t, r.engine.ConfirmLease(t.Context(), r.Record.Key))
	out = r.wantState(bond.StateReady)
	if out.LeaseDue || !r.has(d.got[0]) || out.Record.Lease != nil || d.requests != 1 || d.calls != 0 {
		t.Errorf("lease due: %v; address there: %v; %+v; requested %d times, released %d times", out.LeaseDue, r.has(d.got[0]), out.Record.Lease, d.requests, d.calls)
	}
	if out.Record.Repairs.Last.Cause != "BondMissing" {
		t.Errorf("last repair: %+v", out.Record.Repairs.Last)
	}
}

// TestBondSetDownWithALease: the bond is set up without the address, which is added when the lease is confirmed.
func TestBondSetDownWithALease(t *testing.T) {
	for _, gaveUp := range []bool{false, true} {
		r, d := leased(t)
		must(t, r.SetDown(scenario.PodPath, scenario.BondIf))
		r.BeforeApply(func(a plan.Action) {
			if _, up := a.(plan.SetUp); up && r.has(d.got[0]) {
				t.Error("the bond is set up with an address whose lease is unconfirmed")
			}
		})
		out := r.wantState(bond.StateRepairing)
		r.BeforeApply(nil)
		if !out.LeaseDue || !out.Observed.Bond.Up || r.has(d.got[0]) {
			t.Fatalf("lease due: %v, bond up: %v, address there: %v", out.LeaseDue, out.Observed.Bond.Up, r.has(d.got[0]))
		}
		if gaveUp {
			d.obtain = reconcile.ErrLeaseGivenUp
			if err := r.engine.ConfirmLease(t.Context(), r.Record.Key); !errors.Is(err, d.obtain) {
				t.Fatal(err)
			}
			if out = r.wantState(bond.StateRepairing); !out.Observed.Bond.Up || r.has(d.got[0]) || !out.LeaseDue {
				t.Fatalf("given up: bond up: %v, address there: %v, due: %v", out.Observed.Bond.Up, r.has(d.got[0]), out.LeaseDue)
			}
			d.obtain = nil
		}
		must(t, r.engine.ConfirmLease(t.Context(), r.Record.Key))
		r.wantState(bond.StateReady)
		if !r.has(d.got[0]) {
			t.Error("the confirmed address is not there")
		}
	}
}

// TestLeaseIsReleasedThroughTheBond: the DHCP daemon sends its release through the bond. An agent that sees the tombstone
// does not take the bond down before that, and finishes the release of a plugin that was killed.
func TestLeaseIsReleasedThroughTheBond(t *testing.T) {
	for _, killed := range []bool{false, true} {
		r, d := leased(t)
		agent := reconcile.New(reconcile.Config{Kernel: r.Fake, Store: r.store, IPAM: d, Now: r.clock.Now})
		d.during = func() {
			out, err := agent.Converge(t.Context(), r.Record.Key)
			must(t, err)
			if _, there := r.Link(scenario.PodPath, scenario.BondIf); !there || !out.Record.Deleted() || out.Status.State != bond.StateDeleting {
				t.Errorf("bond there: %t, status %+v", there, out.Status)
			}
		}
		if killed {
			rec, err := r.store.Load(r.Record.Key)
			must(t, err)
			must(t, r.store.MarkDeleted(rec))
			_, err = agent.Repair(t.Context(), r.Record.Key, nil)
			must(t, err)
			must(t, agent.ReleaseRecord(t.Context(), rec))
		} else {
			must(t, r.engine.Release(t.Context(), r.Record.Key))
		}
		checkAbsent(t, r)
	}
}

// TestAnotherLease: a lease of another address is released. Confirming is retried with growing pauses.
func TestAnotherLease(t *testing.T) {
	r, d := leased(t)
	mine := d.got
	d.got = []netip.Prefix{netip.MustParsePrefix("10.56.217.99/24")}
	must(t, r.DeleteBond(scenario.PodPath, scenario.BondIf))
	r.wantState(bond.StateRepairing)
	var last time.Duration
	for n := 1; n <= 12; n++ {
		if err := r.engine.ConfirmLease(t.Context(), r.Record.Key); err == nil {
			t.Fatal("another address is accepted")
		}
		out, err := r.converge()
		must(t, err)
		if out.Status.State != bond.StateStuck || !strings.Contains(out.Status.Reason, "delete the pod") || r.has(mine[0]) || r.has(d.got[0]) || d.calls != n {
			t.Fatalf("%s: %s; released %d times, want %d\n%s", out.Status.State, out.Status.Reason, d.calls, n, r.Node)
		}
		if out.LeaseDue || out.RetryAfter < last || out.RetryAfter > 10*time.Minute {
			t.Fatalf("due %v, after %s; before that it was %s", out.LeaseDue, out.RetryAfter, last)
		}
		last = out.RetryAfter
		r.clock.turn(last)
	}
	if last != 10*time.Minute {
		t.Errorf("the last pause was %s", last)
	}
	r.clock.turn(-24 * time.Hour) // the node's clock is set back
	if out, _ := r.converge(); out.RetryAfter == 0 || out.RetryAfter > 10*time.Minute {
		t.Errorf("with the clock set back, after %s", out.RetryAfter)
	}
	r.clock.turn(24 * time.Hour)
	d.got = mine
	must(t, r.engine.ConfirmLease(t.Context(), r.Record.Key))
	r.wantState(bond.StateReady)
}

// TestDELWhileALeaseIsObtained: a DEL waits until the lease is obtained, and releases it.
func TestDELWhileALeaseIsObtained(t *testing.T) {
	r, d := leased(t)
	must(t, r.DeleteBond(scenario.PodPath, scenario.BondIf))
	r.wantState(bond.StateRepairing)
	deleted := make(chan error)
	d.before = func() {
		go func() { deleted <- r.engine.Release(t.Context(), r.Record.Key) }()
		for rec := r.Record; !rec.Deleted(); {
			var err error
			rec, err = r.store.Load(r.Record.Key)
			must(t, err)
		}
		if d.calls != 0 {
			t.Error("released while the lease is being obtained")
		}
	}
	must(t, r.engine.ConfirmLease(t.Context(), r.Record.Key))
	must(t, <-deleted)
	if d.calls != 1 {
		t.Errorf("%d releases, want that of DEL", d.calls)
	}
	checkAbsent(t, r)
}

// TestOtherIPAMIsNotHeldBack: addresses that are not leased are restored immediately.
func TestOtherIPAMIsNotHeldBack(t *testing.T) {
	r, d := leased(t)
	must(t, r.engine.Update(t.Context(), r.Record.Key, func(rec *bond.Record) error {
		rec.CNI.Config = []byte(`{"ipam":{"type":"host-local"}}`)
		return nil
	}))
	must(t, r.DeleteBond(scenario.PodPath, scenario.BondIf))
	if out := r.wantState(bond.StateReady); out.LeaseDue || !r.has(d.got[0]) {
		t.Errorf("lease due: %v; address there: %v", out.LeaseDue, r.has(d.got[0]))
	}
}
