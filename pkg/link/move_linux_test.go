package link

import (
	"errors"
	"slices"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

func TestMoveToPod(t *testing.T) {
	g := newFixture(t)
	g.member("net2")
	l := g.veth(g.host, "ext0")
	g.in(g.host, "link", "set", "ext0", "up")
	g.in(g.host, "link", "property", "add", "dev", "ext0", "altname", "net1", "altname", "net2", "altname", "an-own-name-of-some-length")
	g.apply(plan.MoveToPod{Link: g.ref(g.host, "ext0"), Name: "net1", MAC: "02:00:00:00:00:07", MTU: 1400, Index: l.Index})
	got := g.show(g.pod, "net1")
	if got.Index != l.Index || got.MAC != "02:00:00:00:00:07" || got.MTU != 1400 || slices.Contains(got.Flags, "UP") {
		t.Errorf("in the pod: %+v", got)
	}
	if want := []string{"an-own-name-of-some-length"}; !slices.Equal(got.AltNames, want) {
		t.Errorf("alternative names %v, want those that no other link needs: %v", got.AltNames, want)
	}
}

// TestMoveToPodLeavesItInTheHost if anything is rejected: the pod never gets a link with another name or MAC than
// planned.
func TestMoveToPodLeavesItInTheHost(t *testing.T) {
	g := newFixture(t)
	g.member("net1")
	g.in(g.pod, "link", "add", "index", "4711", "taken", "type", "bridge")
	g.in(g.host, "link", "add", "br0", "type", "bridge")
	for _, tc := range []struct {
		name  string
		setup []string // arguments of ip link set ext0
		a     plan.MoveToPod
		class error
	}{
		{"name taken", nil, plan.MoveToPod{Name: "net1"}, bond.ErrStale},
		{"name no name", nil, plan.MoveToPod{Name: "a/b"}, nil},
		{"MAC rejected", nil, plan.MoveToPod{Name: "net2", MAC: "01:00:00:00:00:01"}, nil},
		{"enslaved in the host", []string{"master", "br0"}, plan.MoveToPod{Name: "net2"}, bond.ErrStale},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := *g
			g.TB = t
			g.veth(g.host, "ext0")
			defer g.in(g.host, "link", "del", "p-ext0")
			if tc.setup != nil {
				g.in(g.host, append([]string{"link", "set", "ext0"}, tc.setup...)...)
			}
			before := g.show(g.host, "ext0")
			tc.a.Link = g.ref(g.host, "ext0")
			err := g.k.Apply(t.Context(), g.r, tc.a)
			if err == nil || tc.class != nil && !errors.Is(err, tc.class) {
				t.Errorf("got %v, want an error of class %v", err, tc.class)
			}
			if after := g.show(g.host, "ext0"); after.Index != before.Index || after.MAC != before.MAC || after.MTU != before.MTU {
				t.Errorf("in the host it is %+v now, it was %+v", after, before)
			}
		})
	}
}

func TestMoveToHost(t *testing.T) {
	g := newFixture(t)
	g.member("net1")
	g.member("net2")
	g.in(g.pod, "link", "set", "net1", "up")
	g.in(g.pod, "link", "property", "add", "dev", "net1", "altname", "ext0", "altname", "p-net1")
	g.apply(plan.MoveToHost{Link: g.ref(g.pod, "net1"), Name: "ext0"})
	if l := g.show(g.host, "ext0"); l.Name != "ext0" || len(l.AltNames) != 0 || slices.Contains(l.Flags, "UP") {
		t.Errorf("in the host: %+v", l)
	}
	g.apply(plan.MoveToHost{Link: g.ref(g.pod, "net2"), Name: "ext0"})
	if l := g.show(g.host, "eth0"); l.Index == 0 {
		t.Error("a link whose name is taken did not become the kernel's choice, eth0")
	}
}

func TestRename(t *testing.T) {
	g := newFixture(t)
	g.member("net1")
	g.member("net2")
	g.in(g.pod, "link", "property", "add", "dev", "net1", "altname", "other", "altname", "kept")
	g.apply(plan.Rename{Link: g.ref(g.pod, "net1"), To: "other"})
	if l := g.show(g.pod, "other"); l.Name != "other" || !slices.Equal(l.AltNames, []string{"kept"}) {
		t.Errorf("renamed to its own alternative name: %+v", l)
	}
	g.apply(plan.Rename{Link: g.ref(g.pod, "other"), To: "other"})
	err := g.k.Apply(t.Context(), g.r, plan.Rename{Link: g.ref(g.pod, "net2"), To: "kept"})
	if !errors.Is(err, bond.ErrStale) {
		t.Errorf("renamed to another's alternative name: %v", err)
	}
}

// TestActionsCheckTheirLink: an action is applied to exactly the link that it names, or not at all.
func TestActionsCheckTheirLink(t *testing.T) {
	g := newFixture(t)
	g.member("net1")
	g.veth(g.host, "ext0")
	in, out := g.ref(g.pod, "net1"), g.ref(g.host, "ext0")
	with := func(r plan.LinkRef, change func(*plan.LinkRef)) plan.LinkRef { change(&r); return r }
	for _, tc := range []struct {
		name  string
		a     plan.Action
		class error
	}{
		{"no such index", plan.SetUp{Link: with(in, func(r *plan.LinkRef) { r.Index = 4711 })}, bond.ErrGone},
		{"no index", plan.SetUp{Link: with(in, func(r *plan.LinkRef) { r.Index = 0 })}, bond.ErrStale},
		{"no VF", plan.SetUp{Link: with(in, func(r *plan.LinkRef) { r.PCI = someVF })}, bond.ErrStale},
		{"another serial", plan.SetUp{Link: with(in, func(r *plan.LinkRef) { r.Serial++ })}, bond.ErrStale},
		{"another permanent MAC", plan.SetUp{Link: with(in, func(r *plan.LinkRef) { r.PermMAC = "02:00:00:00:00:01" })}, bond.ErrStale},
		{"lost", plan.SetUp{Link: with(in, func(r *plan.LinkRef) { r.Location = bond.Lost })}, bond.ErrStale},
		{"into the pod from the pod", plan.MoveToPod{Link: in, Name: "x"}, bond.ErrStale},
		{"to the host from the host", plan.MoveToHost{Link: out, Name: "x"}, bond.ErrStale},
		{"bond's own action on a veth", plan.SetUp{MemberIndex: plan.OnBond, Link: in}, bond.ErrStale},
		{"options of a veth", plan.SetOptions{Bond: in, Options: bond.Options{bond.OptMiimon: "1"}}, bond.ErrStale},
		{"delete a veth", plan.DeleteBond{Bond: in}, bond.ErrStale},
		{"address on a veth", plan.AddAddress{Bond: in}, bond.ErrStale},
		{"enslave to a veth", plan.Enslave{Link: in, Bond: in}, bond.ErrStale},
		{"an action of somebody else", unknownAction{}, bond.ErrUnsupported},
	} {
		err := g.k.Apply(t.Context(), g.r, tc.a)
		if !errors.Is(err, tc.class) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.class)
		}
	}
	if l := g.see().Members[0].Link; l.Up || l.Name != "net1" {
		t.Errorf("and yet something was done: %+v", l)
	}
}

type unknownAction struct{ plan.MemberIndex }

func (unknownAction) String() string { return "something" }
