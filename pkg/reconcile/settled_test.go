package reconcile_test

import (
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
)

// TestBondWithoutActiveMemberIsNotSettled: with failOverMac=active a recreated bond has its recorded MAC until the
// kernel's monitor has made a member active, which takes up to miimon. Until then the bond is not settled: the monitor
// may choose another member than before, whose MAC would stay. Nor is the bond Ready, because it carries no traffic.
func TestBondWithoutActiveMemberIsNotSettled(t *testing.T) {
	r := ready(t, bond.Options{bond.OptMode: "active-backup", bond.OptMiimon: "100", bond.OptFailOverMac: "active"})
	r.PauseMonitors()
	must(t, r.DeleteBond(scenario.PodPath, scenario.BondIf))
	must(t, r.MoveToHost(scenario.PodPath, "net1"))
	out := r.wantState(bond.StateDown)
	if len(out.Unattached()) > 0 || out.Status.MAC != r.Record.Spec.MAC || out.Status.Reason == "" || out.Record.Settled {
		t.Fatalf("not attached: %v, MAC %s, reason %q, settled %t; want all attached, MAC %s, a reason, and not settled\n%s",
			out.Unattached(), out.Status.MAC, out.Status.Reason, out.Record.Settled, r.Record.Spec.MAC, r.Node)
	}
	r.ResumeMonitors()
	if out = r.wantState(bond.StateReady); out.Status.Active != "net1" || out.Status.MAC != r.Record.Spec.MAC {
		t.Fatalf("active %s with MAC %s, want net1 with %s\n%s", out.Status.Active, out.Status.MAC, r.Record.Spec.MAC, r.Node)
	}
}

// TestBondWithAnotherMACIsDegraded: a bond with another member's MAC is not Ready until the owner of the recorded MAC
// is active.
func TestBondWithAnotherMACIsDegraded(t *testing.T) {
	r := ready(t, bond.Options{bond.OptMode: "active-backup", bond.OptMiimon: "100", bond.OptFailOverMac: "active"})
	must(t, r.MoveToHost(scenario.PodPath, "net1"))
	r.PauseMonitors()
	if out := r.wantState(bond.StateDegraded); len(out.Unattached()) > 0 || out.Status.MAC == r.Record.Spec.MAC || out.Status.Reason == "" {
		t.Fatalf("not attached: %v, MAC %s, reason %q; want all attached, the MAC of net2 and a reason\n%s",
			out.Unattached(), out.Status.MAC, out.Status.Reason, r.Node)
	}
	r.ResumeMonitors()
	if out := r.wantState(bond.StateReady); out.Status.Active != "net1" || out.Status.MAC != r.Record.Spec.MAC {
		t.Fatalf("active %s with MAC %s, want net1 with %s\n%s", out.Status.Active, out.Status.MAC, r.Record.Spec.MAC, r.Node)
	}
}
