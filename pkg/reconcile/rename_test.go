package reconcile_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
)

// oldKernel renames a link only while it is down.
const oldKernel = "6.1.0-50-amd64"

// TestPrimaryGetsItsNameOnOldKernels: a primary that returns under a temporary name is set down for its own one, while
// the other member is active.
func TestPrimaryGetsItsNameOnOldKernels(t *testing.T) {
	r := ready(t, bond.Options{bond.OptMode: "active-backup", bond.OptMiimon: "100", bond.OptPrimary: "net1", bond.OptPrimaryReselect: "failure"})
	r.SetRelease(oldKernel)
	must(t, r.UnbindVF(r.VFs[0]))
	r.wantState(bond.StateDegraded)
	must(t, r.BindVF(r.VFs[0]))
	out := r.wantState(bond.StateReady)
	if l, _ := r.Link(scenario.PodPath, "net1"); l.PCI != r.VFs[0] || !l.Up || out.Status.Active != "net2" {
		t.Errorf("net1 is %+v, active is %s", l, out.Status.Active)
	}
}

// TestActiveMemberIsNotSetDownForItsName: the active member and the bond keep a name that the pod gave them until they
// are down, and the reason names what to do.
func TestActiveMemberIsNotSetDownForItsName(t *testing.T) {
	for _, name := range []string{"net1", "bond0"} {
		t.Run(name, func(t *testing.T) {
			r := ready(t, bond.Options{bond.OptMode: "active-backup", bond.OptMiimon: "100", bond.OptPrimary: "net1"})
			must(t, r.Rename(scenario.PodPath, name, "other"))
			r.SetRelease(oldKernel)
			out, err := r.converge()
			if err != nil && !errors.Is(err, bond.ErrBusy) {
				t.Fatal(err)
			}
			if l, _ := r.Link(scenario.PodPath, "other"); !l.Up || out.Status.State == bond.StateReady || !strings.Contains(out.Status.Reason, "other is up") {
				t.Errorf("%s is %+v; the state is %s (%s)", name, l, out.Status.State, out.Status.Reason)
			}
			must(t, r.SetDown(scenario.PodPath, "other"))
			if _, err := r.converge(); err != nil { // without a wait: a link that is down is renamed at once
				t.Error(err)
			}
			if l, found := r.Link(scenario.PodPath, name); !found || !l.Up {
				t.Errorf("once it was down it is %+v (found: %t)", l, found)
			}
		})
	}
}
