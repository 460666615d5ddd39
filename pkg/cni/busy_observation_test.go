package cni

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// TestAddBusyObservation: ADD tries again if the pod cannot be observed at the moment, before it has written its record
// and after that. If that does not end before there is a record, it fails and leaves nothing.
func TestAddBusyObservation(t *testing.T) {
	for _, tt := range []struct {
		name         string
		first, later int // observations that fail
		fails        bool
	}{{"first", 2, 0, false}, {"later", 0, 2, false}, {"first, to the end", 1000, 0, true}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t, 1)
				args, before := n.OnePod(nil)
				n.FailObserve(tt.first, bond.ErrBusy)
				later := sync.OnceFunc(func() { n.FailObserve(tt.later, bond.ErrBusy) })
				n.BeforeApply(func(plan.Action) { later() })
				err := n.plugin.Funcs().Add(args)
				if tt.fails {
					cnitest.WantError(t, err, types.ErrTryAgainLater, "busy")
				} else {
					n.Must(err)
				}
				n.MustDel(args)
				n.WantNothingLeft(before)
			})
		})
	}
}

// TestAddBusySearch: so it does if the links cannot be searched for at the moment.
func TestAddBusySearch(t *testing.T) {
	for name, times := range map[string]int{"for a moment": 2, "to the end": 1000} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t, 1)
				args, before := n.OnePod(nil)
				left := times
				n.onOpen(func(b *Backend) {
					find := b.FindMembers
					b.FindMembers = func(ctx context.Context, q bond.MemberQuery) (bond.MemberResult, error) {
						if left--; left >= 0 {
							return bond.MemberResult{}, bond.ErrBusy
						}
						return find(ctx, q)
					}
				})
				err := n.plugin.Funcs().Add(args)
				if times > 100 {
					cnitest.WantError(t, err, types.ErrTryAgainLater, "busy")
				} else {
					n.Must(err)
				}
				n.MustDel(args)
				n.WantNothingLeft(before)
			})
		})
	}
}
