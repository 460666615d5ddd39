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

// leaseGrace bounds the time in which the DHCP daemon confirms a lease that it maintains. It responds at once, unless
// it is renewing the lease.
const leaseGrace = 10 * time.Second

// Obtain implements reconcile.LeaseKeeper for the reference dhcp plugin, whose daemon identifies a lease by container
// ID, network and CNI_IFNAME.
//
// ADD returns a lease that the daemon maintains, and acquires one that it does not have. For a lease that it has given
// up (v1.9.1: the link was missing at a renewal, or the lease expired) ADD never returns: the lease is still in the
// daemon's table, but not maintained. DEL removes it from the table; the next ADD acquires it for the same identity.
func (c *Client) Obtain(ctx context.Context, r *bond.Record) ([]netip.Prefix, error) {
	// After ErrLeaseGivenUp an acquisition takes as long as the server's response.
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
