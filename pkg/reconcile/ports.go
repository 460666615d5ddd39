package reconcile

import (
	"context"
	"errors"
	"net/netip"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// Kernel observes and changes links. Implementations are safe for concurrent use with different records.
type Kernel interface {
	// Observe reads the state of everything in the record. A missing sandbox is a result, not an error. After an error
	// nothing is known; it wraps one of bond's error classes if one fits.
	Observe(ctx context.Context, r *bond.Record) (bond.Observed, error)
	// Aggregator reads what ObservedBond.Aggregator is now, with one request about the bond; bond.ErrGone if there is
	// no bond.
	Aggregator(ctx context.Context, r *bond.Record) (*bond.Aggregator, error)
	// Unannounced returns o with what no event reports read again: what PFs have for VFs in the bond, and whether VFs
	// still belong to the pod. It makes no request in the pod, and needs the links in o only.
	Unannounced(ctx context.Context, r *bond.Record, o bond.Observed) bond.Observed
	// Apply makes one change, after checking that the action's links are still the same. Errors wrap bond.ErrGone,
	// ErrStale, ErrBusy or ErrUnsupported if one fits, and name the link. The record of an ADD gets the ifindex of the
	// bond that is created, because what follows is done before the bond is observed, and another writer may rename it.
	Apply(ctx context.Context, r *bond.Record, a plan.Action) error
	// Hold makes the operations on a sandbox cheaper until release is called: they may share what they open. It is for a
	// few operations in a row, because what is open keeps the netns of an ended pod.
	Hold(s bond.Sandbox) (release func())
}

// Store saves records. Implementations are safe for concurrent use by several processes.
type Store interface {
	// Lock locks one bond, with or without a record. It waits until ctx ends or the store's own deadline passes
	// (bond.ErrLocked).
	Lock(ctx context.Context, k bond.Key) (unlock func(), err error)
	// Load returns bond.ErrNotFound if there is no record.
	Load(k bond.Key) (*bond.Record, error)
	// Save writes r atomically.
	Save(r *bond.Record) error
	// MarkDeleted makes r a tombstone for every later Load, without the lock. MarkedDeleted reports whether that was
	// done.
	MarkDeleted(r *bond.Record) error
	MarkedDeleted(r *bond.Record) bool
	// Remove deletes a record, if there is one.
	Remove(k bond.Key) error
}

// IPAM releases the addresses of a record's IPAM plugin. It is called without the bond's lock (Engine.WithAddresses).
type IPAM interface {
	// Uses reports whether the record's network may have an IPAM plugin. If not, there is nothing to release.
	Uses(r *bond.Record) bool
	// PluginPath returns CNI.Path for a tombstone, with which the agent finds the plugin later.
	PluginPath(r *bond.Record) string
	// Release is idempotent. It does nothing for a record without IPAM.
	Release(ctx context.Context, r *bond.Record) error
}

// ErrLeaseGivenUp: a lease is not maintained any more. It can be obtained again.
var ErrLeaseGivenUp = errors.New("the DHCP daemon gave the lease up")

// LeaseMaintainer is an IPAM that maintains leases.
type LeaseMaintainer interface {
	// Obtain returns the addresses whose lease is maintained for the record's container and interface. It acquires one
	// if there is none. It is called without the bond's lock, and may wait for minutes. It returns ErrLeaseGivenUp if
	// there was a lease that is not maintained.
	Obtain(ctx context.Context, r *bond.Record) ([]netip.Prefix, error)
}
