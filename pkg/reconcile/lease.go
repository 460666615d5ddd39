package reconcile

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// endangersLease reports whether a DHCP daemon may have given the lease up after a loss. It searches for the link by
// name to renew the lease, and sets the link down when the lease has expired.
func endangersLease(c plan.Code) bool {
	return c == plan.BondMissing || c == plan.Renamed || c == plan.LinkDown
}

// markLease records that the lease must be confirmed, or that it was confirmed and the bond is restored. It reports
// whether the record changed; the plan is then out of date.
func markLease(rec *bond.Record, p plan.Plan) bool {
	if rec.Phase != bond.PhaseReady {
		return false
	}
	i := slices.IndexFunc(p.Findings, func(f plan.Finding) bool { return f.Member == plan.OnBond && endangersLease(f.Code) })
	switch {
	case i < 0 && rec.Lease != nil && rec.Lease.State == bond.LeaseConfirmed:
		rec.Lease = nil
	case i < 0, !rec.Leased():
		return false
	case rec.Lease == nil, rec.Lease.State == bond.LeaseConfirmed && p.Findings[i].Code == plan.BondMissing:
		rec.Lease, rec.Restoring = &bond.Lease{State: bond.LeaseUnconfirmed}, true // without address nothing is learned
	default:
		return false
	}
	return true
}

// leaseDue reports whether ConfirmLease is to be called, and after which wait. The daemon needs the bond under its own
// name.
func leaseDue(rec *bond.Record, obs *bond.Observed, now time.Time) (wait time.Duration, due bool) {
	if rec.Deleted() || !obs.SandboxAlive || !rec.WithoutLease() || obs.Bond == nil || obs.Bond.Name != rec.BondName() {
		return 0, false
	}
	return min(max(rec.Lease.Next.Sub(now), 0), maxLeaseRetry), true // the clock may have been set back since
}

// lease sets when the lease is to be confirmed.
func (o *Outcome) lease(rec *bond.Record, obs *bond.Observed, now time.Time) {
	wait, due := leaseDue(rec, obs, now)
	o.LeaseDue = due && wait == 0
	if wait > 0 && (o.RetryAfter == 0 || wait < o.RetryAfter) {
		o.RetryAfter = wait
	}
}

const (
	minLeaseRetry = 5 * time.Second
	maxLeaseRetry = 10 * time.Minute
)

// ConfirmLease has the IPAM plugin confirm the lease of the record's addresses, or obtain it again for the same
// container and interface. It does not hold the bond's lock while it waits. The address of a pod cannot change: a lease
// of another address is released, and the bond remains without address. The error is why the lease is lost.
func (e *Engine) ConfirmLease(ctx context.Context, k bond.Key) error {
	rec, err := e.store.Load(k)
	if errors.Is(err, bond.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if rec.Deleted() || !rec.WithoutLease() {
		return nil
	}
	leaseErr := e.WithAddresses(ctx, k, func(now *bond.Record) error {
		if now == nil || now.Deleted() || !now.SameAdd(rec) {
			return bond.ErrGone
		}
		return e.obtainLease(ctx, rec)
	})
	if ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err() // the agent or the bond ends: nothing is known
	}
	err = e.Update(ctx, k, func(r *bond.Record) error {
		if r.Deleted() || !r.SameAdd(rec) {
			return bond.ErrGone
		}
		e.noteLease(r, leaseErr)
		return nil
	})
	if errors.Is(err, bond.ErrGone) || errors.Is(err, bond.ErrNotFound) {
		return nil // the release of the bond comes after this call, and releases what was leased
	}
	return errors.Join(err, leaseErr)
}

// obtainLease returns nil if the lease is maintained and is for the record's addresses.
func (e *Engine) obtainLease(ctx context.Context, rec *bond.Record) error {
	leases, ok := e.ipam.(LeaseMaintainer)
	if !ok {
		return fmt.Errorf("bond %s of pod %s: %w: no IPAM that maintains leases", rec.BondName(), rec.Pod, bond.ErrUnsupported)
	}
	got, err := leases.Obtain(ctx, rec)
	if err != nil {
		return err
	}
	for _, a := range rec.Addresses {
		if !slices.Contains(got, a.Prefix) {
			return errors.Join(fmt.Errorf("the DHCP server leased %v and not %s, and the address of a pod cannot change: delete the pod", got, prefixes(rec.Addresses)),
				e.ipam.Release(ctx, rec))
		}
	}
	return nil
}

func prefixes(all []bond.Address) []netip.Prefix {
	out := make([]netip.Prefix, len(all))
	for i, a := range all {
		out[i] = a.Prefix
	}
	return out
}

func (e *Engine) noteLease(r *bond.Record, leaseErr error) {
	if leaseErr == nil {
		r.Lease = &bond.Lease{State: bond.LeaseConfirmed}
		e.logOf(r, plan.OnBond).Info("lease confirmed", zap.Stringers("addresses", prefixes(r.Addresses)))
		return
	}
	if errors.Is(leaseErr, ErrLeaseGivenUp) {
		r.Lease = &bond.Lease{State: bond.LeaseLost, Reason: leaseErr.Error()} // and at once again
		e.logOf(r, plan.OnBond).Warn("lease given up", zap.Error(leaseErr))
		return
	}
	attempts := 1
	if r.Lease != nil {
		attempts += r.Lease.Attempts
	}
	wait := minLeaseRetry
	for i := 1; i < attempts && wait < maxLeaseRetry; i++ {
		wait *= 2
	}
	wait = min(wait, maxLeaseRetry)
	r.Lease = &bond.Lease{State: bond.LeaseLost, Attempts: attempts, Reason: leaseErr.Error(), Next: e.now().Add(wait).UTC()}
	e.logOf(r, plan.OnBond).Error("lease lost", zap.Error(leaseErr), zap.Int("attempt", attempts), zap.Duration("retryAfter", wait))
}
