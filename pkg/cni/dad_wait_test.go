package cni

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

// detecting is the fake kernel with a bond whose carrier comes late and whose IPv6 addresses are tentative until their
// detection, which begins with the carrier, has ended.
type detecting struct {
	reconcile.Kernel
	// noCarrier are the times in which there is none, detection is how long one takes. Both count from set, the first
	// observation with the address.
	noCarrier [][2]time.Duration
	detection time.Duration
	set       time.Time
	// duplicate: another host has the address.
	duplicate bool
	// removed: the kernel removes the address at the end of the detection, as it does with accept_dad 2 after a duplicate of
	// the link-local address.
	removed bool
	// unread is how many observations leave addresses unread from readable on, and what they fail with, if anything.
	unread     int
	unreadErr  error
	unreadFrom time.Duration
}

func (d *detecting) Observe(ctx context.Context, r *bond.Record) (bond.Observed, error) {
	o, err := d.Kernel.Observe(ctx, r)
	address := netip.MustParsePrefix("2001:db8::5/64")
	if err != nil || o.Bond == nil || !slices.Contains(o.Bond.Addresses, address) {
		return o, err
	}
	if d.set.IsZero() {
		d.set = time.Now()
	}
	now, began := time.Since(d.set), time.Duration(0)
	o.Bond.Carrier = true
	for _, span := range d.noCarrier {
		o.Bond.Carrier = o.Bond.Carrier && (now < span[0] || now >= span[1])
		if now >= span[1] {
			began = max(began, span[1])
		}
	}
	switch {
	case !o.Bond.Carrier || now < began+d.detection:
		o.Bond.Tentative = append(o.Bond.Tentative, address)
	case d.removed:
		o.Bond.Addresses = slices.DeleteFunc(slices.Clone(o.Bond.Addresses), func(p netip.Prefix) bool { return p == address })
	case d.duplicate:
		o.Bond.Duplicates = append(o.Bond.Duplicates, address)
	}
	if now >= d.unreadFrom && d.unread > 0 {
		d.unread--
		o.Bond.Unread, o.Bond.Addresses, o.Bond.Routes, o.Bond.Tentative, o.Bond.Duplicates = "hidden", nil, nil, nil, nil
		return o, d.unreadErr
	}
	return o, nil
}

// on replaces the plugin's kernel.
func (d *detecting) on(n *node) *detecting {
	n.onOpen(func(b *Backend) { d.Kernel, b.Kernel = b.Kernel, d })
	return d
}

type spans = [][2]time.Duration

// TestDetectionIsAwaited: ADD waits for the end of the detection of duplicate addresses, which begins with the carrier.
func TestDetectionIsAwaited(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		name        string
		kernel      detecting
		least, most time.Duration
		fails       string // empty if ADD succeeds
	}{
		{"carrier at once", detecting{detection: 2 * s}, 2 * s, 3 * s, ""},
		{"late carrier", detecting{noCarrier: spans{{0, 4900 * time.Millisecond}}, detection: 2 * s}, 6 * s, 7 * s, ""},
		{"no carrier", detecting{noCarrier: spans{{0, time.Hour}}, detection: 2 * s}, 4 * s, 6 * s, ""},
		{"carrier is lost", detecting{noCarrier: spans{{0, s}, {3 * s, time.Hour}}, detection: 4 * s}, 3 * s, 6 * s, ""},
		{"carrier comes and goes", detecting{noCarrier: spans{{0, s}, {3 * s, 4 * s}}, detection: 4 * s}, 8 * s, 9 * s, ""},
		{"no end", detecting{detection: time.Hour}, 4 * s, 6 * s, "detection has not ended after 5s"},
		{"no end after a late carrier", detecting{noCarrier: spans{{0, 4 * s}}, detection: time.Hour}, 8 * s, 10 * s, "detection has not ended after 5s"},
		{"duplicate", detecting{detection: 2 * s, duplicate: true}, 2 * s, 3 * s, "another host"},
		{"duplicate after a late carrier", detecting{noCarrier: spans{{0, 4 * s}}, detection: 2 * s, duplicate: true}, 6 * s, 7 * s, "another host"},
		{"removed", detecting{detection: 2 * s, removed: true}, 4 * s, 6 * s, "2001:db8::5/64 was removed"},
		{"unread", detecting{detection: 2 * s, unread: 10, unreadFrom: s}, 2 * s, 3 * s, ""},
		{"duplicate after unread", detecting{detection: 2 * s, duplicate: true, unread: 10, unreadFrom: s}, 2 * s, 3 * s, "another host"},
		{"unread, then busy", detecting{detection: 2 * s, unread: 10, unreadErr: bond.ErrBusy, unreadFrom: s}, 2 * s, 3 * s, ""},
		{"never read", detecting{detection: 2 * s, unread: 1 << 30, unreadFrom: s}, 4 * s, 6 * s, "hidden"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t, 1)
				kernel := tt.kernel.on(n)
				args := n.Args("c1", n.Pod("p1", 0), n.Config(map[string]any{"ipam": ipv6("2001:db8::1")}))
				err := n.plugin.Funcs().Add(args)
				if took := time.Since(kernel.set); took < tt.least || took > tt.most {
					t.Errorf("ADD took %s after the address was set, want %s to %s", took, tt.least, tt.most)
				}
				if tt.fails == "" {
					n.Must(err)
				} else {
					cnitest.WantError(t, err, types.ErrInternal, tt.fails, "bond0")
				}
			})
		})
	}
}
