package linktest

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// pair is a fake with one PF and two of its VFs, down, in a pod.
func pair(t *testing.T) (*Fake, *bond.Record) {
	t.Helper()
	f := New()
	kit.Must(t, f.AddPF("ens1", "0000:01:00.0"))
	kit.Must(t, f.SetNumVFs("ens1", 2))
	r := &bond.Record{Key: bond.Key{ContainerID: "c", IfName: "bond0"}, Sandbox: f.AddPod("/run/netns/a")}
	for i, pci := range f.VFs("ens1") {
		name := []string{"net1", "net2"}[i]
		kit.Must(t, f.MoveToNetns(Host, []string{"eth0", "eth1"}[i], r.Sandbox.Path, name))
		r.Members = append(r.Members, bond.Member{Name: name, PCI: pci})
	}
	return f, r
}

func linkRef(t *testing.T, f *Fake, r *bond.Record, i int) plan.LinkRef {
	t.Helper()
	o, err := f.Observe(t.Context(), r)
	kit.Must(t, err)
	return plan.LinkRefOf(o.Members[i].Location, &o.Members[i].Link)
}

func TestInjectedFailuresChangeNothing(t *testing.T) {
	f, r := pair(t)
	up := plan.SetUp{Link: linkRef(t, f, r, 0)}
	before := f.String()
	f.FailApply(2, bond.ErrBusy)
	kit.Must(t, f.Apply(t.Context(), r, plan.SetDown{Link: up.Link})) // the first: it is down
	if err := f.Apply(t.Context(), r, up); !errors.Is(err, bond.ErrBusy) {
		t.Errorf("second Apply: %v", err)
	}
	f.FailApplyIf(func(a plan.Action) error {
		if _, is := a.(plan.SetUp); is {
			return bond.ErrUnsupported
		}
		return nil
	})
	if err := f.Apply(t.Context(), r, up); !errors.Is(err, bond.ErrUnsupported) {
		t.Errorf("SetUp: %v", err)
	}
	if f.String() != before || f.Changes() != 0 {
		t.Errorf("changes %v: %s", f.ChangeLog(), f)
	}
	f.FailApplyIf(nil)
	kit.Must(t, f.Apply(t.Context(), r, up))
	kit.Must(t, f.Apply(t.Context(), r, up)) // nothing left to change
	if log := f.ChangeLog(); !slices.Equal(log, []string{up.String()}) || f.Applies() != 5 {
		t.Errorf("%d calls, changes %v", f.Applies(), log)
	}
}

func TestInterruptedObserve(t *testing.T) {
	f, r := pair(t)
	f.FailObserve(2, bond.ErrBusy)
	for range 2 {
		if _, err := f.Observe(t.Context(), r); !errors.Is(err, bond.ErrBusy) {
			t.Errorf("Observe: %v", err)
		}
	}
	_, err := f.Observe(t.Context(), r)
	kit.Must(t, err)
}

func TestLinkVanishesBeforeApply(t *testing.T) {
	f, r := pair(t)
	l := linkRef(t, f, r, 0)
	f.BeforeApply(func(plan.Action) { kit.Must(t, f.UnbindVF(l.PCI)) })
	if err := f.Apply(t.Context(), r, plan.SetUp{Link: l}); !errors.Is(err, bond.ErrGone) {
		t.Errorf("SetUp: %v", err)
	}
	f.BeforeApply(nil)
	if f.Changes() != 0 {
		t.Errorf("changes: %v", f.ChangeLog())
	}
}

// TestResetIsCuredByBounces: a VF that needs two bounces carries traffic after the second.
func TestResetIsCuredByBounces(t *testing.T) {
	f, r := pair(t)
	l := linkRef(t, f, r, 0)
	kit.Must(t, f.Apply(t.Context(), r, plan.SetUp{Link: l}))
	kit.Must(t, f.ResetVF(l.PCI, 2))
	var carriers []bool
	for range 3 {
		link, _ := f.Link(r.Sandbox.Path, "net1")
		carriers = append(carriers, link.Carrier)
		kit.Must(t, f.Apply(t.Context(), r, plan.Bounce{Link: l}))
	}
	if !slices.Equal(carriers, []bool{false, false, true}) {
		t.Errorf("carriers before each bounce: %v", carriers)
	}
}

// TestDeletedPodFreesNames: a VF whose name is taken in the host returns under another.
func TestDeletedPodFreesNames(t *testing.T) {
	f, r := pair(t)
	_, err := f.AddImpostor(Host, "net1")
	kit.Must(t, err)
	kit.Must(t, f.DeletePod(r.Sandbox.Path))
	text := f.String()
	for _, want := range []string{": net1 dummy", ": dev3 VF 0000:01:10.0", ": net2 VF 0000:01:10.2"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// TestUntrustedVF: a MAC that was set on the PF cannot be changed in the pod.
func TestUntrustedVF(t *testing.T) {
	f, r := pair(t)
	l := linkRef(t, f, r, 0)
	mac := bond.MAC("02:00:00:00:00:01")
	kit.Must(t, f.SetVF(l.PCI, bond.VFSettings{MAC: &mac}))
	if err := f.Apply(t.Context(), r, plan.SetMAC{Link: l, MAC: otherMAC(1)}); err == nil {
		t.Error("it took another MAC")
	}
	kit.Must(t, f.Apply(t.Context(), r, plan.SetMAC{Link: l, MAC: mac}))
	kit.Must(t, f.SetVF(l.PCI, bond.VFSettings{Trust: new(true)}))
	kit.Must(t, f.Apply(t.Context(), r, plan.SetMAC{Link: l, MAC: otherMAC(1)}))
}

// TestMTUChangeIsAFailover: a VF's driver restarts the VF for it.
func TestMTUChangeIsAFailover(t *testing.T) {
	f, r := pair(t)
	kit.Must(t, f.AddBond(r.Sandbox.Path, "bond0", activeBackup()))
	kit.Must(t, f.SetUp(r.Sandbox.Path, "bond0"))
	for _, name := range []string{"net1", "net2"} {
		kit.Must(t, f.Enslave(r.Sandbox.Path, name, "bond0"))
	}
	active := func() string {
		o, err := f.Observe(t.Context(), r)
		kit.Must(t, err)
		return o.Bond.Options[bond.OptActiveSlave]
	}
	kit.Must(t, f.SetMTU(r.Sandbox.Path, "net1", 1500)) // unchanged
	if a := active(); a != "net1" {
		t.Errorf("the active member is %s", a)
	}
	kit.Must(t, f.SetMTU(r.Sandbox.Path, "net1", 1300))
	if a := active(); a != "net2" {
		t.Errorf("the active member is %s", a)
	}
	if l, _ := f.Link(r.Sandbox.Path, "net1"); !l.Carrier {
		t.Error("net1 has lost its carrier for good")
	}
}

// TestConcurrentUse is for the race detector.
func TestConcurrentUse(t *testing.T) {
	f, r := pair(t)
	l := linkRef(t, f, r, 1)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				_, _ = f.Observe(t.Context(), r)
				_ = f.Apply(t.Context(), r, plan.Bounce{Link: l})
				_ = f.UnbindVF(r.Members[0].PCI)
				_ = f.BindVF(r.Members[0].PCI)
				_ = f.String()
			}
		})
	}
	wg.Wait()
}
