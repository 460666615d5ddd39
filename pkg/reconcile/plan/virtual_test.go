package plan_test

import (
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile/plan"
)

// TestVirtualLinkWithoutProof: a virtual link from the host is moved there only if its serial was read and is the recorded one.
func TestVirtualLinkWithoutProof(t *testing.T) {
	member := bond.Member{Name: "net1", Index: 7, HostIndex: 3, Kind: "dummy", Serial: 42, Before: bond.Before{Name: "ext0", MAC: "02:00:00:00:00:01", InHost: true}}
	for _, tt := range []struct {
		name           string
		recorded, read uint64
		place          bond.Place
		moved          bool
	}{
		{"proven", 42, 42, bond.InPod, true},
		{"not read", 42, 0, bond.InPod, false},
		{"another", 42, 43, bond.InPod, false},
		{"of an older version", 0, 0, bond.InPod, false},
		{"nowhere", 42, 0, bond.Lost, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := member
			m.Serial = tt.recorded
			rec := &bond.Record{Key: bond.Key{ContainerID: "c", IfName: "bond0"}, Phase: bond.PhaseDeleting, Members: []bond.Member{m}}
			obs := bond.Observed{SandboxAlive: true, Members: []bond.ObservedMember{{Place: tt.place, Link: bond.Link{Index: 7, Name: "net1", Kind: "dummy", MAC: "02:00:00:00:00:09", Serial: tt.read}}}}
			p := plan.Diff(plan.Input{Record: rec, Observed: obs})
			if !tt.moved {
				if len(p.Actions) > 0 || len(p.Findings) != 1 || p.Findings[0].Code != plan.NotProven {
					t.Errorf("actions %v, findings %v; want it left alone and reported", p.Actions, p.Findings)
				}
				return
			}
			if move, is := p.Actions[len(p.Actions)-1].(plan.MoveToHost); !is || move.Index != 3 || move.Name != "ext0" || move.Link.Serial != 42 {
				t.Errorf("actions %v; want it back in the host", p.Actions)
			}
		})
	}
}
