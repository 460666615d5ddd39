package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

const (
	// maxReleases is how often a member that cannot be returned as it was (its driver rejects a MAC, for example) makes
	// Release fail. After that the pod's end matters more.
	maxReleases = 3
	// maxIPAMAttempts is how often the IPAM plugin may fail before a DEL leaves the addresses to the agent.
	maxIPAMAttempts = 3
)

// ReleaseRecord does what DEL does for a bond whose record was read before. It makes the record a tombstone, releases
// the addresses, takes the bond down, returns the members and removes the record. It can be called any number of times,
// and by the plugin and the agent at once. If there is no record, or one of another ADD, it does nothing. After an
// error the tombstone remains, and ReleaseRecord is to be called again.
func (e *Engine) ReleaseRecord(ctx context.Context, r *bond.Record) error {
	_, err := e.release(ctx, r.Key, releaseMode{only: r})
	if errors.Is(err, bond.ErrNotFound) {
		return nil
	}
	return err
}

// releaseMode is how a bond is released.
type releaseMode struct {
	// only is the record that may be released; nil for any.
	only *bond.Record
	// forDEL: the IPAM plugin is not called after maxIPAMAttempts.
	forDEL bool
}

// Delete is ReleaseRecord for a DEL, which has read no record and must end. If the bond is down, its members are
// returned and the IPAM plugin has failed three times, Delete succeeds. The tombstone then remains, and the agent
// continues. The error is bond.ErrNotFound if there is no record.
func (e *Engine) Delete(ctx context.Context, k bond.Key) error {
	left, err := e.release(ctx, k, releaseMode{forDEL: true})
	if left == nil || left.CNI.IPAMAttempts < maxIPAMAttempts {
		return err
	}
	e.logFor(left).Warn("addresses remain allocated; DEL succeeds, the agent retries", zap.Int("attempts", left.CNI.IPAMAttempts), zap.Error(err))
	return nil
}

// release returns the tombstone if only the addresses are left to be released.
func (e *Engine) release(ctx context.Context, k bond.Key, mode releaseMode) (left *bond.Record, err error) {
	e.markDeleted(k, mode.only)
	var rec *bond.Record
	err = e.Update(ctx, k, func(r *bond.Record) error {
		if mode.only != nil && !r.SameAdd(mode.only) {
			return bond.ErrNotFound
		}
		r.Phase = bond.PhaseDeleting
		r.Releases++
		if e.ipam != nil {
			r.CNI.IPAMDone = r.CNI.IPAMDone || !e.ipam.Uses(r)
			r.CNI.Path = e.ipam.PluginPath(r)
		}
		rec = r
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("put a tombstone on bond %s: %w", k, err)
	}
	// IPAM runs without the bond's lock: DHCP may take seconds. If it fails the bond is
	// removed, but not the record.
	var ipamErr error
	if !mode.forDEL || rec.CNI.IPAMAttempts < maxIPAMAttempts {
		ipamErr = e.releaseAddresses(ctx, rec, mode.forDEL)
	}
	err = whenFree(ctx, func(last bool) error { left, err = e.teardown(ctx, rec, last); return err })
	if err != nil {
		return nil, errors.Join(err, ipamErr)
	}
	if left == nil {
		return nil, nil
	}
	if ipamErr == nil {
		ipamErr = errors.New(left.CNI.IPAMError)
	}
	return left, ipamErr
}

// teardown takes down the bond of a tombstone. A record of another ADD, written in its place meanwhile, is not touched.
// While the addresses may be allocated the record remains, and is returned. A card that is in use ends the attempts only
// if this is the last call.
func (e *Engine) teardown(ctx context.Context, tombstone *bond.Record, last bool) (left *bond.Record, err error) {
	k := tombstone.Key
	unlock, err := e.store.Lock(ctx, k)
	if err != nil {
		return nil, err
	}
	defer unlock()
	rec, err := e.store.Load(k)
	if errors.Is(err, bond.ErrNotFound) {
		return nil, nil // another process was faster
	}
	if err != nil {
		return nil, err
	}
	if !rec.SameAdd(tombstone) {
		return nil, nil
	}
	e.histories.Forget(k) // a release does not wait for pauses
	out, err := e.converge(ctx, rec, convergence{firstDEL: tombstone.Releases <= 1})
	if err == nil && len(out.Plan.Actions) > 0 { // held back, because the links kept changing under the plan
		err = fmt.Errorf("bond %s of pod %s: %w: not taken down yet: %v", rec.BondName(), rec.Pod, bond.ErrBusy, out.Plan.Actions)
	}
	inUse := !last && errors.Is(err, bond.ErrInUse)
	if err != nil && (out.Observed.Bond != nil || rec.Releases < maxReleases || inUse || ctx.Err() != nil) {
		return nil, err
	}
	if err != nil {
		e.logFor(rec).Error("member not returned with its original settings", zap.Error(err))
	}
	for _, f := range out.Plan.Findings {
		if f.Code == plan.NotProven {
			e.logFor(rec).Warn("host link not returned", zap.String("found", f.Text))
		}
	}
	e.logRemainingPFSettings(rec, &out.Observed)
	if e.ipam != nil && !rec.CNI.IPAMDone {
		e.noteReturned(rec)
		return rec, nil
	}
	if err := e.store.Remove(k); err != nil {
		return nil, err
	}
	e.forget(k)
	return nil, nil
}

// logRemainingPFSettings reports the PF-side settings of VFs whose pod ended without sriov-cni's DEL, which would have
// reset them. They are not reset here: with the netns gone, sriov-cni's files do not show whose VF it is (invariant
// 11).
func (e *Engine) logRemainingPFSettings(rec *bond.Record, obs *bond.Observed) {
	if obs.SandboxAlive || rec.Returned || len(obs.Members) == 0 { // without members it could not be observed
		return
	}
	for i := range rec.Members {
		m, o := &rec.Members[i], &obs.Members[i]
		if m.VF == nil || m.SriovCNI == nil || o.Location != bond.InHost || o.PF == nil || o.ForeignClaim != "" {
			continue
		}
		requested := m.VF.Settings.Only(o.PF.VF)
		if remain := requested.Without(requested.NotMet(o.PF.VF)); !remain.Empty() {
			e.logFor(rec).Warn("VF keeps settings on its PF: sriov-cni has not reset them", zap.String("vf", string(m.PCI)),
				zap.String("pf", o.PF.Name), zap.Int("number", m.VF.Number), zap.Stringer("settings", remain))
		}
	}
}

// noteReturned records that nothing is left of a tombstone but its addresses. Otherwise the next attempt would return
// the members again.
func (e *Engine) noteReturned(tombstone *bond.Record) {
	if tombstone.Returned {
		return
	}
	tombstone.Returned = true
	if err := e.store.Save(tombstone); err != nil {
		e.logFor(tombstone).Warn("cannot record that the members are returned", zap.Error(err))
	}
}

// maxReleasePause bounds the pause between two attempts to release a bond.
const maxReleasePause = 10 * time.Minute

// ReleasePause is how long a tombstone is left alone after its last change. The first pause is for the plugin, which
// may be about to retry. It doubles with each attempt that failed, up to ten minutes.
func ReleasePause(first time.Duration, attempts int) time.Duration {
	pause := first
	for ; attempts > 1 && pause < maxReleasePause; attempts-- {
		pause *= 2
	}
	return min(pause, max(first, maxReleasePause))
}
