package link

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netns/netnstest"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

func TestNewRejectsInvalidHostNetns(t *testing.T) {
	if _, err := New(Options{HostNetns: filepath.Join(t.TempDir(), "nothing")}); err == nil {
		t.Error("a path without netns passed for the host's")
	}
	if _, err := New(Options{}); err != nil {
		t.Error(err)
	}
}

func TestObserveKnowsMembersByIdentity(t *testing.T) {
	g := newFixture(t)
	g.member("net1")
	g.member("net2")
	g.in(g.pod, "link", "set", "net1", "name", "hidden")
	g.in(g.pod, "link", "set", "net2", "up")
	g.in(g.pod, "link", "property", "add", "dev", "net2", "altname", "net1")
	g.in(g.pod, "link", "add", "bond0", "type", "bridge")
	o := g.see()
	switch m := o.Members[0]; {
	case m.Location != bond.InPod || m.Link.Name != "hidden" || m.Link.Kind != "veth":
		t.Errorf("renamed member: %+v", m)
	case m.NameHolder == nil || m.NameHolder.Name != "net2":
		t.Errorf("its name is another's alternative one: %+v", m.NameHolder)
	}
	if m := o.Members[1]; !m.Link.Up || !m.Link.Carrier || m.NameHolder != nil || m.Link.MTU != 1500 {
		t.Errorf("member that is up: %+v", m)
	}
	if o.Bond != nil || o.NameHolder == nil || o.NameHolder.Kind != "bridge" {
		t.Errorf("bond %+v, name holder %+v; want no bond and the bridge", o.Bond, o.NameHolder)
	}
	g.in(g.pod, "link", "del", "bond0")
	g.in(g.pod, "link", "property", "add", "dev", "net2", "altname", "bond0")
	if s := g.see().NameHolder; s == nil || s.Name != "net2" {
		t.Errorf("a link with the bond's name as its alternative one is not the name holder: %+v", s)
	}
	g.in(g.pod, "link", "del", "hidden")
	if m := g.see().Members[0]; m.Location != bond.Lost || m.NameHolder == nil {
		t.Errorf("deleted member: %+v", m)
	}
}

func TestObserveDeadSandbox(t *testing.T) {
	g := newFixture(t)
	g.member("net1")
	netnstest.Delete(t, g.pod)
	o := g.see()
	if o.SandboxAlive || o.Members[0].Location != bond.Lost {
		t.Errorf("dead sandbox: %+v", o)
	}
	err := g.k.Apply(t.Context(), g.r, plan.CreateBond{Name: "bond0"})
	if !errors.Is(err, bond.ErrGone) {
		t.Errorf("create in a dead sandbox: %v", err)
	}
}

// TestKernelHoldsNoPodAlive: after Observe and Apply, deleting the path deletes the netns with its end of the veth, and
// so the peer.
func TestKernelHoldsNoPodAlive(t *testing.T) {
	g := newFixture(t)
	g.member("net1")
	g.member("net2")
	before := openFiles(t)
	for range 20 {
		g.see()
		g.apply(plan.SetUp{Link: g.ref(g.pod, "net1")})
		_ = g.k.Apply(t.Context(), g.r, plan.SetUp{Link: plan.LinkRef{Location: bond.InPod, Index: 4711}})
		_ = g.k.Apply(t.Context(), g.r, plan.MoveToPod{Link: plan.LinkRef{Location: bond.InHost, Index: 4711}, Name: "x"})
		_ = g.k.Apply(t.Context(), g.r, plan.MoveToHost{Link: g.ref(g.pod, "net2"), Name: "bad/name"})
	}
	if after := openFiles(t); after > before {
		t.Errorf("%d open files, %d before", after, before)
	}
	netnstest.Delete(t, g.pod)
	kit.Eventually(g, "the pod's netns dies", func() bool { return g.show(g.host, "p-net1").Index == 0 })
}

func openFiles(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	kit.Must(t, err)
	return len(all)
}

func TestDeadlineEndsARequest(t *testing.T) {
	g := newFixture(t)
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	if _, err := g.k.Observe(ctx, g.r); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Observe: %v", err)
	}
}

func TestLinkByName(t *testing.T) {
	g := newFixture(t)
	g.member("net1")
	g.in(g.pod, "link", "property", "add", "dev", "net1", "altname", "quite-a-long-name-for-a-link")
	for name, want := range map[string]string{"net1": "net1", "quite-a-long-name-for-a-link": "net1", "net2": ""} {
		l, err := g.k.LinkByName(t.Context(), g.r.Sandbox, name)
		if err != nil || (l == nil) != (want == "") || l != nil && l.Name != want {
			t.Errorf("%s: %+v (%v), want %q", name, l, err, want)
		}
	}
	netnstest.Delete(t, g.pod)
	if _, err := g.k.LinkByName(t.Context(), g.r.Sandbox, "net1"); !errors.Is(err, bond.ErrGone) {
		t.Errorf("in a dead sandbox: %v", err)
	}
}

// BenchmarkObserveMembers is Observe of a pod without bond; the benchmark with a bond is in the lab.
func BenchmarkObserveMembers(b *testing.B) {
	g := newFixture(b)
	g.member("net1")
	g.member("net2")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.k.Observe(b.Context(), g.r); err != nil {
			b.Fatal(err)
		}
	}
}

// TestConcurrentUse: one Kernel serves many bonds concurrently, each in its own netns.
func TestConcurrentUse(t *testing.T) {
	g := newFixture(t)
	var wg sync.WaitGroup
	for i := range 8 {
		g := *g
		g.pod = netnstest.New(t)
		g.r = &bond.Record{Key: bond.Key{ContainerID: "c", IfName: "bond0"}, Sandbox: sandboxAt(t, g.pod)}
		g.member(fmt.Sprintf("net%d", i))
		ref := g.ref(g.pod, g.r.Members[0].Name)
		wg.Go(func() {
			for n := range 20 {
				mtu := 1300 + 20*i + n
				if err := g.k.Apply(t.Context(), g.r, plan.SetMTU{Link: ref, MTU: mtu}); err != nil {
					t.Error(err)
				}
				o, err := g.k.Observe(t.Context(), g.r)
				if err != nil || o.Members[0].Link.MTU != mtu || o.Members[0].Link.Name != g.r.Members[0].Name {
					t.Errorf("%s: %+v (%v), want MTU %d", g.r.Members[0].Name, o.Members, err, mtu)
				}
			}
		})
	}
	wg.Wait()
}
