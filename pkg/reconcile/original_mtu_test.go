package reconcile_test

import (
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
)

// TestRepairedVFHasItsOwnMTU: a VF that was repaired is enslaved with the MTU that it had before the bond, which the
// kernel gives back when another plugin's DEL takes the VF out of the bond before the bond's own DEL.
func TestRepairedVFHasItsOwnMTU(t *testing.T) {
	r := ready(t, scenario.OKD())
	must(t, r.UnbindVF(r.VFs[0]))
	r.convergeUntilIdle()
	must(t, r.BindVF(r.VFs[0]))
	out := r.wantState(bond.StateReady)
	m := out.Record.Members[0]
	if l, _ := r.Link(scenario.PodPath, m.Name); l.MTU != 1400 || m.Original.MTU != 1500 {
		t.Fatalf("in the bond the VF has MTU %d; before it had %d", l.MTU, m.Original.MTU)
	}
	must(t, r.ReleaseVF(out.Record, 0, "eth9", m.Original.MAC, bond.VFSettings{}))
	if l, found := r.Link(linktest.Host, "eth9"); !found || l.MTU != 1500 {
		t.Errorf("in the host: %+v", l)
	}
}
