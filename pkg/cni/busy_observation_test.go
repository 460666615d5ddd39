package cni

import (
	"testing"
	"testing/synctest"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// TestAddBusyObservation: ADD tries again if the links cannot be read at the moment, once it has begun.
func TestAddBusyObservation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 1)
		args, before := n.OnePod(nil)
		failed := false
		n.BeforeApply(func(plan.Action) {
			if !failed {
				n.FailObserve(2, bond.ErrBusy)
			}
			failed = true
		})
		n.Must(n.plugin.Funcs().Add(args))
		n.MustDel(args)
		n.WantNothingLeft(before)
	})
}
