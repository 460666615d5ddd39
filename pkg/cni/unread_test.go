package cni

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

// unreadable is a kernel whose next observations of a bond with recorded addresses leave addresses and routes unread.
type unreadable struct {
	reconcile.Kernel
	left int
}

func (u *unreadable) Observe(ctx context.Context, r *bond.Record) (bond.Observed, error) {
	o, err := u.Kernel.Observe(ctx, r)
	if b := o.Bond; err == nil && b != nil && len(r.Addresses) > 0 && !r.Deleted() && u.left > 0 {
		u.left--
		b.Unread, b.Addresses, b.Routes = "hidden", nil, nil
	}
	return o, err
}

func (u *unreadable) on(n *node) {
	n.onOpen(func(b *Backend) { u.Kernel, b.Kernel = b.Kernel, u })
}

// TestAddWhileUnread: ADD does not succeed before it has read whether the bond has its addresses.
func TestAddWhileUnread(t *testing.T) {
	for _, tt := range []struct {
		name   string
		unread int
		fails  string
	}{{"once", 1, ""}, {"a few times", 4, ""}, {"for ever", 1 << 30, "hidden"}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t, 1)
				(&unreadable{left: tt.unread}).on(n)
				args, before := n.OnePod(nil)
				err := n.plugin.Funcs().Add(args)
				if tt.fails != "" {
					cnitest.WantError(t, err, types.ErrInternal, tt.fails, "bond0")
					n.WantNothingLeft(before)
					return
				}
				n.Must(err)
				if a, r := n.fake.Addresses(args.Netns, "bond0"), n.fake.Routes(args.Netns, "bond0"); len(a) != 1 || len(r) == 0 {
					t.Errorf("ADD succeeded with addresses %v and routes %v", a, r)
				}
			})
		})
	}
}

// TestCheckWhileUnread: CHECK names the cause instead of an address that may be there.
func TestCheckWhileUnread(t *testing.T) {
	n := newNode(t, 1)
	args, _ := n.OnePod(nil)
	result := n.MustAdd(args)
	u := &unreadable{left: 1}
	u.on(n)
	with := *args
	with.StdinData = n.WithPrev(args.StdinData, result)
	cnitest.WantError(t, n.plugin.Funcs().Check(&with), types.ErrInternal, "hidden")
	n.Must(n.plugin.Funcs().Check(&with))
}
