package cni

import (
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// agentBetween is a store in which the agent changes the record between an ADD's last reconcile and the end of the ADD.
type agentBetween struct {
	Store
	done bool
}

func (s *agentBetween) Load(k bond.Key) (*bond.Record, error) {
	r, err := s.Store.Load(k)
	if err != nil || s.done {
		return r, err
	}
	s.done = true
	r.Contested = []bond.Contest{{Setting: "the MTU"}}
	if err = s.Save(r); err != nil {
		return nil, err
	}
	return s.Store.Load(k)
}

// TestADDKeepsWhatTheAgentRecords: the end of an ADD overwrites nothing that the agent has recorded meanwhile.
func TestADDKeepsWhatTheAgentRecords(t *testing.T) {
	n := newNode(t, 2)
	n.onOpen(func(b *Backend) { b.Store = &agentBetween{Store: b.Store} })
	args, _ := n.OnePod(map[string]any{"ipam": nil})
	n.Must(n.plugin.Add(t.Context(), args))
	r := n.Record("c1")
	if len(r.Contested) != 1 || r.BondIndex == 0 || r.Phase != bond.PhaseReady {
		t.Errorf("contested: %v; bond's ifindex %d; phase %s", r.Contested, r.BondIndex, r.Phase)
	}
}
