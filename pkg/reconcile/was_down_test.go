package reconcile_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

// TestDownForAMoment: a bond that is set down and up again before it is observed has lost its routes, those of other
// writers too. They are restored however often that happens: no other writer has removed them.
func TestDownForAMoment(t *testing.T) {
	r := ready(t, scenario.OKD())
	extra := bond.Route{Dst: netip.MustParsePrefix("198.51.100.0/24")}
	must(t, r.AddRoute(scenario.PodPath, scenario.BondIf, extra))
	r.wantState(bond.StateReady)
	for n := range 6 {
		must(t, errors.Join(r.SetDown(scenario.PodPath, scenario.BondIf), r.SetUp(scenario.PodPath, scenario.BondIf)))
		r.clock.turn(5 * time.Second)
		out := r.wantState(bond.StateReady)
		if len(out.Record.Contested) > 0 || len(out.Record.Routes) != 2 || len(out.Record.Learned.Routes) != 1 {
			t.Fatalf("down for the %d times: contested %v, routes %v, learned %v", n+1, out.Record.Contested, out.Record.Routes, out.Record.Learned.Routes)
		}
		for _, want := range []bond.Route{out.Record.Routes[0], extra} {
			if !r.hasRoute(want.Dst) {
				t.Fatalf("down for the %d times: route %s is missing\n%s", n+1, want, r.Node)
			}
		}
	}
	if out := r.wantState(bond.StateReady); out.Record.Restoring {
		t.Error("still restoring")
	}
}

// TestDownIsReportedLate: the event of a bond that was down may still be unread when the loss of its routes is observed.
// The reconcile waits for it: otherwise it would take the loss for another writer's deletion and forget the routes.
func TestDownIsReportedLate(t *testing.T) {
	r := ready(t, scenario.OKD())
	counted, waits := uint64(0), 0
	r.engine = reconcile.New(reconcile.Config{Kernel: r.Fake, Store: r.store, IPAM: r.ipam, Now: r.clock.Now,
		Downs: func(bond.Key) uint64 { return counted },
		EventsDrained: func(context.Context) {
			counted = r.Downs(bond.Key{})
			waits++
		}})
	extra := bond.Route{Dst: netip.MustParsePrefix("198.51.100.0/24")}
	must(t, r.AddRoute(scenario.PodPath, scenario.BondIf, extra))
	r.wantState(bond.StateReady)
	if waits != 0 {
		t.Errorf("waited %d times although nothing was missing", waits)
	}
	for n := range 4 {
		must(t, errors.Join(r.SetDown(scenario.PodPath, scenario.BondIf), r.SetUp(scenario.PodPath, scenario.BondIf)))
		r.clock.turn(time.Second)
		out := r.wantState(bond.StateReady)
		if len(out.Record.Contested) > 0 || len(out.Record.Learned.Routes) != 1 || !r.hasRoute(extra.Dst) || !r.hasRoute(defaultRoute) {
			t.Fatalf("down for the %d. time: contested %v, learned %v\n%s", n+1, out.Record.Contested, out.Record.Learned.Routes, r.Node)
		}
	}
	must(t, r.DeleteRoute(scenario.PodPath, scenario.BondIf, extra.Dst))
	if out := r.wantState(bond.StateReady); len(out.Record.Learned.Routes) != 0 || r.hasRoute(extra.Dst) {
		t.Errorf("a route that another writer deleted: learned %v", out.Record.Learned.Routes)
	}
}

// torn is a kernel in which something happens between the reading of links and that of addresses and routes.
type torn struct {
	*fixture
	between func()
}

func (k *torn) Observe(ctx context.Context, rec *bond.Record) (bond.Observed, error) {
	links, err := k.Fake.Observe(ctx, rec)
	if between := k.between; between != nil && err == nil {
		k.between = nil
		between()
		var later bond.Observed
		if later, err = k.Fake.Observe(ctx, rec); err == nil {
			links.Bond.Addresses, links.Bond.Routes = later.Bond.Addresses, later.Bond.Routes
		}
	}
	return links, err
}

// TestMasterRemovedDuringObservation: links that were read before the bond's VRF was deleted, and routes that were read
// after that, do not make the agent restore the routes of the VRF's table.
func TestMasterRemovedDuringObservation(t *testing.T) {
	r := ready(t, scenario.OKD())
	k := &torn{fixture: r}
	r.engine = reconcile.New(reconcile.Config{Kernel: k, Store: r.store, IPAM: r.ipam, Now: r.clock.Now, Downs: r.Downs})
	must(t, r.AddVRF(scenario.PodPath, "vrf9", 100))
	must(t, r.SetUpper(scenario.PodPath, scenario.BondIf, "vrf9"))
	other := netip.MustParsePrefix("198.51.100.0/24")
	must(t, r.AddRoute(scenario.PodPath, scenario.BondIf, bond.Route{Dst: other, Table: new(100)}))
	for range 2 {
		r.wantState(bond.StateReady)
	}
	k.between = func() { must(t, r.DeleteLink(scenario.PodPath, "vrf9")) }
	out := r.wantState(bond.StateReady)
	if l := out.Record.Learned; k.between != nil || l.Upper != nil || r.hasRoute(other) || !r.hasRoute(defaultRoute) {
		t.Errorf("learned master %v, routes %v\n%s", l.Upper, l.Routes, r.Node)
	}
}

func (r *fixture) hasRoute(dst netip.Prefix) bool {
	out, err := r.converge()
	must(r.t, err)
	for i := range out.Observed.Bond.Routes {
		if out.Observed.Bond.Routes[i].Dst == dst {
			return true
		}
	}
	return false
}

// TestDownWithoutEvents: no event shows that a bond was down while no agent ran, or whose event was lost. If all its
// routes are missing then, it was down: those of other writers are restored. If only some are, they were deleted.
func TestDownWithoutEvents(t *testing.T) {
	r := ready(t, scenario.OKD())
	missed := uint64(0)
	agent := func() {
		r.engine = reconcile.New(reconcile.Config{Kernel: r.Fake, Store: r.store, IPAM: r.ipam, Now: r.clock.Now,
			Downs: func(bond.Key) uint64 { return 0 }, EventsMissed: func() uint64 { return missed }})
	}
	agent()
	extra := bond.Route{Dst: netip.MustParsePrefix("198.51.100.0/24")}
	must(t, r.AddRoute(scenario.PodPath, scenario.BondIf, extra))
	r.wantState(bond.StateReady)
	for name, unseen := range map[string]func(){
		"restart": agent, "lost events": func() { missed++ },
		"restart with a VF in the host": func() {
			must(t, errors.Join(r.UnbindVF(r.VFs[1]), r.BindVF(r.VFs[1])))
			agent()
		},
	} {
		must(t, errors.Join(r.SetDown(scenario.PodPath, scenario.BondIf), r.SetUp(scenario.PodPath, scenario.BondIf)))
		unseen()
		r.clock.turn(time.Minute)
		if out := r.wantState(bond.StateReady); len(out.Record.Learned.Routes) != 1 || !r.hasRoute(extra.Dst) {
			t.Errorf("%s: down: learned %v\n%s", name, out.Record.Learned.Routes, r.Node)
		}
		must(t, r.DeleteRoute(scenario.PodPath, scenario.BondIf, extra.Dst))
		unseen()
		r.clock.turn(time.Minute)
		if out := r.wantState(bond.StateReady); len(out.Record.Learned.Routes) != 0 || r.hasRoute(extra.Dst) {
			t.Errorf("%s: deleted: learned %v", name, out.Record.Learned.Routes)
		}
		must(t, r.AddRoute(scenario.PodPath, scenario.BondIf, extra))
		r.wantState(bond.StateReady)
	}
}
