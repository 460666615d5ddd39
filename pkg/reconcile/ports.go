// Package reconcile turns a recorded pod bond into a real one: lock, load, observe,
// plan, apply, observe again. Engine is used by the CNI plugin and by the agent alike; the
// bond's lock is their only coordination.
//
// The package declares the ports that it needs and knows nothing of what stands
// behind them: no netlink, no setns, no files, no Kubernetes.
package reconcile

import (
	"context"
	"errors"
	"net/netip"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile/plan"
)

// Kernel is where links live. Implementations are safe for concurrent use with different records.
type Kernel interface {
	// Observe reads everything that the record is about. A sandbox that is gone is an
	// answer, not an error. An error means that nothing is known; it wraps one of
	// bond's error classes where one fits.
	Observe(ctx context.Context, r *bond.Record) (bond.Observed, error)
	// Apply makes one change, after checking that the action's links are still those that it
	// names. Errors wrap bond.ErrGone, ErrStale, ErrBusy or ErrUnsupported where one
	// fits, and name the link.
	Apply(ctx context.Context, r *bond.Record, a plan.Action) error
}

// Store keeps records. Implementations are safe for concurrent use by several processes.
type Store interface {
	// Lock takes the lock of one bond and waits for it until ctx ends or the store's own
	// deadline passes (bond.ErrLocked). The lock may be taken for a bond that has no record.
	Lock(ctx context.Context, k bond.Key) (unlock func(), err error)
	// Load answers bond.ErrNotFound where there is no record.
	Load(k bond.Key) (*bond.Record, error)
	// Save puts r on its name, whole or not at all.
	Save(r *bond.Record) error
	// MarkDeleted makes r a tombstone for every later Load, without the lock. MarkedDeleted reports whether that was done.
	MarkDeleted(r *bond.Record) error
	MarkedDeleted(r *bond.Record) bool
	// Remove deletes a record; to find none is success.
	Remove(k bond.Key) error
}

// IPAM gives back what the record's IPAM plugin gave. It is called without the bond's lock (Engine.WithAddresses).
type IPAM interface {
	// Release is idempotent. A record without IPAM is success.
	Release(ctx context.Context, r *bond.Record) error
}

// ErrLeaseGivenUp: a lease is not maintained any more. It can be obtained again.
var ErrLeaseGivenUp = errors.New("the DHCP daemon gave the lease up")

// LeaseKeeper is an IPAM that can say whether the lease of a record's addresses is maintained.
type LeaseKeeper interface {
	// Obtain returns the addresses whose lease is maintained for the record's container and interface, and acquires one
	// if there is none. It is called as Release is. It returns ErrLeaseGivenUp if there was one that is not maintained. It may wait for minutes.
	Obtain(ctx context.Context, r *bond.Record) ([]netip.Prefix, error)
}
