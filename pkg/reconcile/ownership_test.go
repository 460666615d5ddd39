package reconcile_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

// tenant is the PF's settings for the next pod with the VF.
func (r *fixture) tenant(i int) bond.VFSettings {
	r.t.Helper()
	must(r.t, r.SetVF(r.VFs[i], bond.VFSettings{VLAN: &bond.VLAN{ID: 200 + i, Proto: 0x8100}, Trust: new(true), SpoofChk: new(false)}))
	vf, _ := r.VF(r.VFs[i])
	return vf.Settings
}

// untouched converges twice, and fails if anything changes.
func (r *fixture) untouched() reconcile.Outcome {
	r.t.Helper()
	was := r.Node.String()
	r.convergeUntilIdle()
	r.restart()
	out := r.convergeUntilIdle()
	if now := r.Node.String(); now != was {
		r.t.Errorf("it was\n%s\nnow\n%s", was, now)
	}
	return out
}

func (r *fixture) inHost(i int) bond.Link {
	r.t.Helper()
	for _, name := range []string{"rel0", "rel1", "net1", "net2", "eth0", "eth1", "eth2", "eth3"} {
		if l, ok := r.Link(linktest.Host, name); ok && l.PCI == r.VFs[i] {
			return l
		}
	}
	r.t.Fatalf("%s is not in the host\n%s", r.VFs[i], r.Node)
	return bond.Link{}
}

// unclaimed is a fixture whose VFs were attached by a plugin without files, such as host-device.
func unclaimed(t *testing.T) *fixture {
	t.Helper()
	r := ready(t, scenario.OKD())
	must(t, r.engine.Update(t.Context(), r.Record.Key, func(rec *bond.Record) error {
		for i := range rec.Members {
			r.Detach(&r.Record.Members[i])
			rec.Members[i].SriovCNI = nil
		}
		return nil
	}))
	return r
}

// TestReleasedVFStaysReleased: the bond's DEL failed once in IPAM, Multus continued, and sriov-cni's DEL released both
// VFs. Neither the agent nor the next DEL may take them back.
func TestReleasedVFStaysReleased(t *testing.T) {
	r := ready(t, scenario.OKD())
	r.ipam.err = errors.New("no lease server")
	if err := r.engine.Release(t.Context(), r.Record.Key); err == nil {
		t.Fatal("a DEL without IPAM succeeded")
	}
	for i := range r.VFs {
		r.ReleaseByPlugin(i)
		r.tenant(i)
	}
	was := r.Node.String()
	r.convergeUntilIdle()
	r.restart()
	r.ipam.err = nil
	must(t, r.engine.Release(t.Context(), r.Record.Key))
	if now := r.Node.String(); now != was {
		t.Errorf("it was\n%s\nnow\n%s", was, now)
	}
	if _, err := r.store.Load(r.Record.Key); !errors.Is(err, bond.ErrNotFound) {
		t.Errorf("the record: %v", err)
	}
}

// TestNextTenantRetainsItsSettings: sriov-cni released a VF while the record is still ready, and another pod has it.
func TestNextTenantRetainsItsSettings(t *testing.T) {
	r := ready(t, scenario.OKD())
	r.ReleaseByPlugin(0)
	want := r.tenant(0)
	r.convergeUntilIdle() // the bond detects its loss
	out := r.untouched()
	if out.Status.State != bond.StateDegraded || out.Status.Members[0].State != "released" || !strings.Contains(out.Status.Reason, "net1 (0000:01:10.0) was returned to its owner by sriov-cni") {
		t.Errorf("state %s, member %s: %s", out.Status.State, out.Status.Members[0].State, out.Status.Reason)
	}
	if vf, _ := r.VF(r.VFs[0]); !want.Diff(vf.Settings).Empty() {
		t.Errorf("the PF has %s, the next tenant's settings are %s", vf.Settings, want)
	}
	// In the next tenant's pod.
	r.AddPod("/run/netns/next")
	r.Claim(r.VFs[0], "/run/netns/next")
	must(t, r.MoveToNetns(linktest.Host, "rel0", "/run/netns/next", "net1"))
	r.untouched()
	r.ReleaseByPlugin(1)
	r.convergeUntilIdle()
	if out := r.untouched(); out.Status.State != bond.StateDown {
		t.Errorf("without both: %s", out.Status.State)
	}
}

// TestReleasedBetweenPlanAndAction: the files are read again immediately before the change.
func TestReleasedBetweenPlanAndAction(t *testing.T) {
	for name, happens := range map[string]func(plan.Action) bool{
		"settings": func(a plan.Action) bool { _, is := a.(plan.RestoreVF); return is },
		"move":     func(a plan.Action) bool { _, is := a.(plan.MoveToPod); return is },
	} {
		t.Run(name, func(t *testing.T) {
			r := ready(t, scenario.OKD())
			must(t, r.SetNumVFs(scenario.Cards[0], 0))
			must(t, r.SetNumVFs(scenario.Cards[0], 2))
			released := false
			r.BeforeApply(func(a plan.Action) {
				if happens(a) && !released {
					released = true
					r.Detach(&r.Record.Members[0])
					r.tenant(0)
				}
			})
			out := r.convergeUntilIdle()
			vf, _ := r.VF(r.VFs[0])
			if r.inHost(0).Up || vf.Settings.VLAN.ID != 200 || !released || out.Status.Members[0].State != "released" {
				t.Errorf("%s, %s: %s", vf.Settings, out.Status.Members[0].State, out.Status.Reason)
			}
		})
	}
}

// TestDELReturnsALostVF: the bond's DEL runs before sriov-cni's, so both files exist.
func TestDELReturnsALostVF(t *testing.T) {
	for name, r := range map[string]*fixture{"sriov-cni": ready(t, scenario.OKD()), "host-device": unclaimed(t)} {
		t.Run(name, func(t *testing.T) {
			r.FailApplyIf(func(a plan.Action) error { // it is lost at the time of DEL
				if _, is := a.(plan.MoveToPod); is {
					return bond.ErrBusy
				}
				return nil
			})
			must(t, r.UnbindVF(r.VFs[0]))
			must(t, r.BindVF(r.VFs[0]))
			_, _ = r.converge()
			r.FailApplyIf(nil)
			must(t, r.engine.Release(t.Context(), r.Record.Key))
			if l, ok := r.Link(scenario.PodPath, "net1"); !ok || l.PCI != r.VFs[0] {
				t.Errorf("net1 is not in the pod for its plugin's DEL\n%s", r.Node)
			}
		})
	}
}

// TestLaterDELWithoutClaims: a VF that host-device released after the first DEL cannot be distinguished from a lost
// one.
func TestLaterDELWithoutClaims(t *testing.T) {
	r := unclaimed(t)
	r.ipam.err = errors.New("no lease server")
	_ = r.engine.Release(t.Context(), r.Record.Key)
	for _, name := range []string{"net1", "net2"} {
		must(t, r.MoveToHost(scenario.PodPath, name))
	}
	was := r.Node.String()
	r.convergeUntilIdle()
	r.ipam.err = nil
	must(t, r.engine.Release(t.Context(), r.Record.Key))
	if now := r.Node.String(); now != was {
		t.Errorf("it was\n%s\nnow\n%s", was, now)
	}
}

// TestOtherRecordNamesTheVF: without claims, a VF that another existing bond names is not taken.
func TestOtherRecordNamesTheVF(t *testing.T) {
	r := unclaimed(t)
	other := r.Record.Clone()
	other.Key.ContainerID, other.Pod.Name = "c0c0a", "next"
	other.Sandbox = r.AddPod("/run/netns/next")
	listed := []*bond.Record{r.Record, other}
	alive := true
	r.engine = reconcile.New(reconcile.Config{
		Kernel: r.Fake, Store: r.store, IPAM: r.ipam, Now: r.clock.Now,
		Records:      func(context.Context) ([]*bond.Record, error) { return listed, nil },
		SandboxAlive: func(bond.Sandbox) (bool, error) { return alive, nil },
	})
	must(t, r.MoveToHost(scenario.PodPath, "net1"))
	out := r.convergeUntilIdle()
	if l := r.inHost(0); l.Name != "net1" || !strings.Contains(out.Status.Reason, "also recorded for bond bond0 of pod demo/next") {
		t.Errorf("%+v: %s", l, out.Status.Reason)
	}
	alive = false
	r.wantState(bond.StateReady)
}

// TestSandboxIsStopping: without claims, a pod that the runtime is stopping gets no VF back.
func TestSandboxIsStopping(t *testing.T) {
	r := unclaimed(t)
	stopping := true
	r.engine = reconcile.New(reconcile.Config{
		Kernel: r.Fake, Store: r.store, IPAM: r.ipam, Now: r.clock.Now,
		Stopping: func(id string) bool { return stopping && id == r.Record.Key.ContainerID },
	})
	must(t, r.MoveToHost(scenario.PodPath, "net1"))
	out := r.convergeUntilIdle()
	if l := r.inHost(0); l.Name != "net1" || out.Status.State != bond.StateDegraded || !strings.Contains(out.Status.Reason, "stopping the pod") {
		t.Errorf("%+v: %s %s", l, out.Status.State, out.Status.Reason)
	}
	stopping = false
	r.wantState(bond.StateReady)
}

// TestUnreadableClaim: the VF is not taken and this is reported; everything else is repaired.
func TestUnreadableClaim(t *testing.T) {
	r := ready(t, scenario.OKD())
	r.BreakClaim(r.VFs[0])
	must(t, r.DeleteBond(scenario.PodPath, scenario.BondIf))
	if out := r.wantState(bond.StateReady); !strings.Contains(out.Status.Reason, "cannot be read") || len(out.Record.Repairs.Open) != 0 {
		t.Errorf("in the pod: %q, open %v", out.Status.Reason, out.Record.Repairs.Open)
	}
	must(t, r.MoveToHost(scenario.PodPath, "net1"))
	r.wantState(bond.StateStuck)
	if l := r.inHost(0); l.Name != "net1" {
		t.Errorf("%+v", l)
	}
	r.Claim(r.VFs[0], scenario.PodPath)
	r.wantState(bond.StateReady)
}

// TestFilesRemovedUnderARunningPod: the VF is no longer changed, and the bond continues.
func TestFilesRemovedUnderARunningPod(t *testing.T) {
	r := ready(t, scenario.OKD())
	r.Detach(&r.Record.Members[0])
	if out := r.untouched(); out.Status.State != bond.StateDegraded || out.Status.Active != "net1" {
		t.Errorf("%s, active %s: %s", out.Status.State, out.Status.Active, out.Status.Reason)
	}
	must(t, r.SetMTU(scenario.PodPath, "net1", 1280))
	r.untouched()
}

// TestOlderRecordLearnsItsFiles: a record of a version that did not record them gets them in the first reconcile.
func TestOlderRecordLearnsItsFiles(t *testing.T) {
	r := ready(t, scenario.OKD())
	must(t, r.engine.Update(t.Context(), r.Record.Key, func(rec *bond.Record) error {
		for i := range rec.Members {
			rec.Members[i].SriovCNI = nil
		}
		return nil
	}))
	changes := r.Changes()
	r.wantState(bond.StateReady)
	rec, err := r.store.Load(r.Record.Key)
	must(t, err)
	if slices.ContainsFunc(rec.Members, func(m bond.Member) bool { return m.SriovCNI == nil || m.SriovCNI.Claim == "" }) || r.Changes() != changes {
		t.Errorf("members %+v, %d changes", rec.Members, r.Changes()-changes)
	}
	r.ReleaseByPlugin(0)
	r.convergeUntilIdle()
	r.untouched()
}
