package ipam

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

var _ reconcile.LeaseMaintainer = (*Client)(nil)

// leaseGrace is how long the DHCP daemon may take to confirm a lease that it maintains. It answers at once, unless it
// is renewing the lease.
const leaseGrace = 10 * time.Second

// Obtain implements reconcile.LeaseKeeper for the reference dhcp plugin, whose daemon knows a lease by container ID,
// network and CNI_IFNAME.
//
// ADD returns a lease that the daemon maintains, and acquires one that it does not know. For a lease that it gave up
// (v1.9.1: the link was not there when it wanted to renew, or the lease expired) it never returns: the lease is still in
// its table and nothing serves it. DEL removes it from the table; the next ADD acquires it for the same identity.
func (c *Client) Obtain(ctx context.Context, r *bond.Record) ([]netip.Prefix, error) {
	// After ErrLeaseGivenUp an acquisition takes as long as a server needs to answer.
	if r.Lease != nil && r.Lease.State == bond.LeaseLost {
		return c.leased(ctx, r)
	}
	quick, cancel := context.WithTimeout(ctx, leaseGrace)
	got, err := c.leased(quick, r)
	gaveUp := quick.Err() != nil && ctx.Err() == nil
	cancel()
	if err == nil || !gaveUp {
		return got, err
	}
	if err := c.Release(ctx, r); err != nil { // Obtain is called for a bond that has its record
		return nil, err
	}
	return nil, reconcile.ErrLeaseGivenUp
}

func (c *Client) leased(ctx context.Context, r *bond.Record) ([]netip.Prefix, error) {
	result, err := c.Add(ctx, r)
	if err != nil {
		return nil, err
	}
	var got []netip.Prefix
	for _, ip := range result.IPs {
		p, ok := Prefix(ip.Address)
		if !ok {
			return nil, errors.New("IPAM dhcp ADD: not an address: " + ip.Address.String())
		}
		got = append(got, p)
	}
	return got, nil
}
