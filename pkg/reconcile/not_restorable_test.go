package reconcile_test

import (
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// warns reports whether a status has a warning with all parts.
func warns(s *bond.Status, parts ...string) bool {
	for _, w := range s.Warnings {
		found := true
		for _, part := range parts {
			found = found && strings.Contains(w, part)
		}
		if found {
			return true
		}
	}
	return false
}

// TestTrafficControlIsNamed: traffic control that was lost with the bond, or with a VF, is named until it is configured
// again, also by a restarted agent. What its writer has deleted is not.
func TestTrafficControlIsNamed(t *testing.T) {
	r := ready(t, scenario.OKD())
	for _, on := range []string{scenario.BondIf, "net1"} {
		must(t, r.AddQdisc(r.Path(), on, "clsact"))
		must(t, r.AddQdisc(r.Path(), on, "htb"))
		must(t, r.AddQdisc(r.Path(), on, "ingress"))
		r.wantState(bond.StateReady)
		must(t, r.DeleteQdisc(r.Path(), on, "ingress")) // by its writer
	}
	if out := r.wantState(bond.StateReady); warns(&out.Status, "traffic control") {
		t.Fatalf("before a loss: %q", out.Status.Warnings)
	}
	must(t, r.SetDown(r.Path(), scenario.BondIf)) // nothing is lost
	if out := r.wantState(bond.StateReady); warns(&out.Status, "traffic control") {
		t.Fatalf("after the bond was down: %q", out.Status.Warnings)
	}
	must(t, r.DeleteBond(r.Path(), scenario.BondIf))
	r.wantState(bond.StateReady)
	must(t, r.UnbindVF(r.VFs[0]))
	r.wantState(bond.StateDegraded)
	must(t, r.BindVF(r.VFs[0]))
	r.wantState(bond.StateReady)
	for _, on := range []string{scenario.BondIf, "net1"} {
		r.restart()
		out := r.wantState(bond.StateReady)
		if !warns(&out.Status, "traffic control of "+on, "clsact, root qdisc htb;") || warns(&out.Status, "ingress") {
			t.Errorf("%s: warnings %q", on, out.Status.Warnings)
		}
		must(t, r.AddQdisc(r.Path(), on, "htb"))
		out = r.wantState(bond.StateReady)
		if !warns(&out.Status, "traffic control of "+on, ": clsact;") {
			t.Errorf("%s: half of it is back: %q", on, out.Status.Warnings)
		}
		must(t, r.AddQdisc(r.Path(), on, "clsact"))
		if out = r.wantState(bond.StateReady); warns(&out.Status, "traffic control of "+on) {
			t.Errorf("%s: all is back: %q", on, out.Status.Warnings)
		}
	}
	must(t, r.DeleteQdisc(r.Path(), scenario.BondIf, "clsact"))
	if out := r.wantState(bond.StateReady); warns(&out.Status, "traffic control") {
		t.Errorf("deleted by its writer: %q", out.Status.Warnings)
	}
}

// TestTrafficControlOfALinkThatIsLostAgain: what was missing before a further loss is still named.
func TestTrafficControlOfALinkThatIsLostAgain(t *testing.T) {
	r := ready(t, scenario.OKD())
	must(t, r.AddQdisc(r.Path(), scenario.BondIf, "clsact"))
	r.wantState(bond.StateReady)
	for range 2 {
		must(t, r.DeleteBond(r.Path(), scenario.BondIf))
		if out := r.wantState(bond.StateReady); !warns(&out.Status, "traffic control of bond0", "clsact;") {
			t.Errorf("warnings %q", out.Status.Warnings)
		}
	}
}

// TestRDMADeviceInTheHost: an RDMA device that another writer had moved into the pod, and that is in the host after the
// VF returned, is reported. The VF's own loss is repaired.
func TestRDMADeviceInTheHost(t *testing.T) {
	r := ready(t, scenario.OKD())
	for i, name := range []string{"mlx5_3", "mlx5_4"} {
		must(t, r.AddRDMA(r.VFs[i], name))
	}
	r.wantState(bond.StateReady) // it was never in the pod
	must(t, r.MoveRDMA(r.VFs[0], r.Path()))
	r.wantState(bond.StateReady)
	must(t, r.UnbindVF(r.VFs[0]))
	r.wantState(bond.StateDegraded)
	must(t, r.BindVF(r.VFs[0]))
	for range 2 {
		out := r.wantState(bond.StateDegraded)
		if !strings.Contains(out.Status.Reason, "RDMA device mlx5_3 is in the host") || strings.Contains(out.Status.Reason, "mlx5_4") {
			t.Errorf("reason %q", out.Status.Reason)
		}
		if out.Status.Repairs != 1 || len(out.Record.Repairs.Open) != 0 || out.Plan.Verdict != plan.Converged || out.Record.Members[0].Restoring {
			t.Errorf("the VF itself: %+v, %s", out.Record.Repairs, out.Plan.Verdict)
		}
		r.restart()
	}
	must(t, r.MoveRDMA(r.VFs[0], r.Path()))
	r.wantState(bond.StateReady)
}

// TestEthtoolSettingsAreNamed: what was set on the bond and on a VF and was lost with them is named until it is set
// again, also by a restarted agent, and the bond is Ready. Without a change by another writer nothing is named after the same losses.
func TestEthtoolSettingsAreNamed(t *testing.T) {
	const feature, ring = "feature tx-checksum-ip-generic", "ring rx"
	r := ready(t, scenario.OKD())
	lose := func() {
		t.Helper()
		must(t, r.DeleteBond(r.Path(), scenario.BondIf))
		r.wantState(bond.StateReady)
		for _, vf := range r.VFs[:2] { // the first one is repaired while the other one is missing
			must(t, r.UnbindVF(vf))
		}
		r.wantState(bond.StateDown)
		for i, vf := range r.VFs[:2] {
			must(t, r.BindVF(vf))
			r.wantState([]bond.State{bond.StateDegraded, bond.StateReady}[i])
		}
	}
	lose()
	if out := r.wantState(bond.StateReady); warns(&out.Status, "ethtool") {
		t.Fatalf("nothing was set: %q", out.Status.Warnings)
	}
	must(t, r.SetEthtool(r.Path(), scenario.BondIf, feature, "off"))
	must(t, r.SetEthtool(r.Path(), "net1", ring, "512"))
	r.wantState(bond.StateReady)
	for range 2 {
		lose()
		r.restart()
		out := r.wantState(bond.StateReady)
		if !warns(&out.Status, "ethtool settings of bond0", ": "+feature+" off;") || !warns(&out.Status, "ethtool settings of net1", ": "+ring+" 512;") ||
			warns(&out.Status, "ethtool settings of net2") {
			t.Errorf("warnings %q", out.Status.Warnings)
		}
	}
	must(t, r.SetEthtool(r.Path(), scenario.BondIf, feature, "off"))
	must(t, r.SetEthtool(r.Path(), "net1", ring, "2048")) // its writer has decided
	if out := r.wantState(bond.StateReady); warns(&out.Status, "ethtool") {
		t.Errorf("set again: %q", out.Status.Warnings)
	}
}
