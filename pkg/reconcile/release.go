package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile/plan"
)

// maxReleases is how often a member that cannot be given back as it was (its driver refuses a
// MAC, say) makes Release fail. After that the pod's end matters more.
const maxReleases = 3

// Release does what DEL does: it makes the record a tombstone, gives the addresses back
// to IPAM, takes the bond down, gives the members back and removes the record. It can be
// called any number of times, and by the plugin and the agent at once. Without a record
// there is nothing to do. After an error the tombstone stands and Release is to be
// called again.
func (e *Engine) Release(ctx context.Context, k bond.Key) error {
	var rec *bond.Record
	err := e.Update(ctx, k, func(r *bond.Record) error {
		r.Phase = bond.PhaseDeleting
		r.Releases++
		rec = r
		return nil
	})
	if errors.Is(err, bond.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("put a tombstone on bond %s: %w", k, err)
	}
	// IPAM runs without the lock: DHCP may take seconds. What it refuses does not keep the
	// bond up, only the record.
	ipamErr := e.releaseIPAM(ctx, rec)
	if err := e.takeDown(ctx, rec, ipamErr); err != nil {
		return errors.Join(err, ipamErr)
	}
	return ipamErr
}

func (e *Engine) releaseIPAM(ctx context.Context, rec *bond.Record) error {
	if rec.CNI.IPAMDone || e.ipam == nil {
		return nil
	}
	if err := e.ipam.Release(ctx, rec); err != nil {
		return fmt.Errorf("bond %s of pod %s: give the addresses back: %w", rec.BondName(), rec.Pod, err)
	}
	return nil
}

// takeDown ends the bond of tombstone. A record that another ADD has put in its place meanwhile is not touched.
func (e *Engine) takeDown(ctx context.Context, tombstone *bond.Record, ipamErr error) error {
	k := tombstone.Key
	unlock, err := e.store.Lock(ctx, k)
	if err != nil {
		return err
	}
	defer unlock()
	rec, err := e.store.Load(k)
	if errors.Is(err, bond.ErrNotFound) {
		return nil // the other side was quicker
	}
	if err != nil {
		return err
	}
	if !rec.Created.Equal(tombstone.Created) {
		return nil
	}
	if err = e.noteIPAM(rec, ipamErr); err != nil {
		return err
	}
	e.memories.forget(k) // an end waits for no hold
	out, err := e.converge(ctx, rec, tombstone.Releases <= 1)
	if err == nil && len(out.Plan.Actions) > 0 { // held back, because the links kept changing under the plan
		err = fmt.Errorf("bond %s of pod %s: %w: not taken down yet: %v", rec.BondName(), rec.Pod, bond.ErrBusy, out.Plan.Actions)
	}
	if err != nil && (out.Observed.Bond != nil || rec.Releases < maxReleases || ctx.Err() != nil) {
		return err
	}
	if err != nil {
		e.logFor(rec).Error("a member was not given back as it was", zap.Error(err))
	}
	for _, f := range out.Plan.Findings {
		if f.Code == plan.NotProven {
			e.logFor(rec).Warn("a link of the host was not given back", zap.String("found", f.Text))
		}
	}
	if ipamErr != nil {
		return nil
	}
	e.memories.forget(k)
	return e.store.Remove(k)
}

// noteIPAM keeps in the tombstone whether the IPAM plugin released the addresses, or why it did not.
func (e *Engine) noteIPAM(rec *bond.Record, ipamErr error) error {
	was := rec.CNI
	if ipamErr == nil {
		rec.CNI.IPAMDone, rec.CNI.IPAMError = true, ""
	} else {
		rec.CNI.IPAMError = ipamErr.Error()
	}
	if rec.CNI.IPAMDone == was.IPAMDone && rec.CNI.IPAMError == was.IPAMError {
		return nil
	}
	return e.store.Save(rec)
}

// maxReleasePause bounds the pause between two attempts to release a bond.
const maxReleasePause = 10 * time.Minute

// ReleasePause is how long a tombstone is left alone after its last change. The first pause is for the plugin, which
// may be about to try again; each attempt that failed doubles it, up to ten minutes.
func ReleasePause(first time.Duration, attempts int) time.Duration {
	pause := first
	for ; attempts > 1 && pause < maxReleasePause; attempts-- {
		pause *= 2
	}
	return min(pause, max(first, maxReleasePause))
}
