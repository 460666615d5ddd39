package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// teardownTime is how much of the caller's time an IPAM plugin must leave, so that the bond is always taken down.
const teardownTime = 10 * time.Second

// maxRejectedAttempts is how often the IPAM plugin's DEL is tried, over about an hour, after its ADD returned an error.
// With a config that the plugin rejects both always fail, and a pod that is retried leaves a tombstone each time.
const maxRejectedAttempts = 10

// WithAddresses calls do while no other process calls the IPAM plugin for the bond. now is the bond's record, nil if it
// has none. An IPAM plugin knows an address by container ID and interface only. So a late DEL would release the address
// of a later ADD with the same ID, if the two were not kept apart:
//
//   - every call of ADD or DEL of an IPAM plugin is made here, and only if now is the record that the call is for;
//   - a record is removed only after CNI.IPAMDone was set here: the IPAM plugin's DEL succeeded, or is not retried.
//
// So no call is under way for a bond whose record was removed, and no address is allocated without a record. The lock
// concerns nothing but these calls: repair and DEL of the bond itself never wait for it.
func (e *Engine) WithAddresses(ctx context.Context, k bond.Key, do func(now *bond.Record) error) error {
	unlock, err := e.store.Lock(ctx, addressKey(k))
	if err != nil {
		return fmt.Errorf("wait for another call of the IPAM plugin: %w", err)
	}
	defer unlock()
	now, err := e.store.Load(k)
	if err != nil && !errors.Is(err, bond.ErrNotFound) {
		return err
	}
	if err != nil {
		now = nil
	}
	return do(now)
}

// addressKey names the lock of a bond's addresses.
func addressKey(k bond.Key) bond.Key {
	const maxID = 190 // bond.Key takes 200 bytes; two IDs that begin alike only wait for each other
	k.ContainerID = "ipam-" + k.ContainerID[:min(len(k.ContainerID), maxID)]
	return k
}

// releaseAddresses has the IPAM plugin release the addresses of a tombstone, and records whether it did. forDEL:
// waiting in vain for another call also counts as a failure, because a DEL must end.
func (e *Engine) releaseAddresses(ctx context.Context, tombstone *bond.Record, forDEL bool) error {
	if tombstone.CNI.IPAMDone || e.ipam == nil {
		return nil
	}
	limited, cancel := withinTime(ctx)
	defer cancel()
	called := false
	err := e.WithAddresses(limited, tombstone.Key, func(now *bond.Record) error {
		if now == nil || !now.SameAdd(tombstone) || now.CNI.IPAMDone {
			return nil // another process has released them
		}
		called = true
		ipamErr := e.ipam.Release(limited, tombstone)
		return errors.Join(ipamErr, e.noteIPAM(ctx, tombstone, ipamErr))
	})
	if err == nil {
		return nil
	}
	if !called && forDEL {
		err = errors.Join(err, e.noteIPAM(ctx, tombstone, err))
	}
	return fmt.Errorf("bond %s of pod %s: give the addresses back: %w", tombstone.BondName(), tombstone.Pod, err)
}

// withinTime leaves teardownTime of the time that ctx has.
func withinTime(ctx context.Context) (context.Context, context.CancelFunc) {
	if end, limited := ctx.Deadline(); limited {
		return context.WithDeadline(ctx, end.Add(-teardownTime))
	}
	return context.WithCancel(ctx)
}

// noteIPAM records in the tombstone whether the IPAM plugin released the addresses, or why it did not.
func (e *Engine) noteIPAM(ctx context.Context, tombstone *bond.Record, ipamErr error) error {
	err := e.Update(ctx, tombstone.Key, func(r *bond.Record) error {
		switch {
		case !r.SameAdd(tombstone) || r.CNI.IPAMDone:
			return bond.ErrNotFound
		case ipamErr == nil:
			r.CNI.IPAMDone, r.CNI.IPAMError = true, ""
		default:
			r.CNI.IPAMAttempts++
			r.CNI.IPAMError = ipamErr.Error()
		}
		if r.CNI.IPAMRefused && r.CNI.IPAMAttempts >= maxRejectedAttempts {
			e.logFor(r).Error("IPAM DEL not retried: its ADD failed too, so no address is known to be allocated",
				zap.Int("attempts", r.CNI.IPAMAttempts), zap.Error(ipamErr))
			r.CNI.IPAMDone = true
		}
		return nil
	})
	if errors.Is(err, bond.ErrNotFound) {
		return nil
	}
	return err
}

// ReleaseUnrecorded calls the IPAM plugin's DEL for a bond without a record. rec has what the call needs. The error is
// bond.ErrStale if there is a record by now.
func (e *Engine) ReleaseUnrecorded(ctx context.Context, rec *bond.Record) error {
	limited, cancel := withinTime(ctx)
	defer cancel()
	return e.WithAddresses(limited, rec.Key, func(now *bond.Record) error {
		if now != nil {
			return fmt.Errorf("bond %s has a record: %w", rec.Key, bond.ErrStale)
		}
		return e.ipam.Release(limited, rec)
	})
}
