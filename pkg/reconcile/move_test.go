package reconcile_test

import (
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
)

// TestReturnsWithAnotherIndex: a plan assumes that a VF keeps its ifindex when it is moved. If that is taken in the pod,
// the link that has it is left alone, and the VF is enslaved in the next round.
func TestReturnsWithAnotherIndex(t *testing.T) {
	r := ready(t, scenario.OKD())
	must(t, r.UnbindVF(r.VFs[0]))
	r.wantState(bond.StateDegraded)
	must(t, r.BindVF(r.VFs[0]))
	_, inHost, _ := r.Netdev(r.VFs[0])
	must(t, r.AddTwin(scenario.PodPath, "foreign", inHost.Index))
	before, _ := r.Link(scenario.PodPath, "foreign")
	out, err := r.converge()
	if err != nil || out.Status.State != bond.StateReady {
		t.Fatalf("state %s, error %v\n%s", out.Status.State, err, r.Node)
	}
	after, _ := r.Link(scenario.PodPath, "foreign")
	member, _ := r.Link(scenario.PodPath, "net1")
	if after != before || member.Index == inHost.Index {
		t.Fatalf("foreign link %+v, before %+v; net1 has ifindex %d, which is taken", after, before, member.Index)
	}
}
