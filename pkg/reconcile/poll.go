package reconcile

import (
	"context"
	"reflect"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// The intervals at which the driver sends LACP messages (AD_FAST_PERIODIC_TIME and AD_SLOW_PERIODIC_TIME).
const (
	lacpFast = time.Second
	lacpSlow = 30 * time.Second
)

// What Changed reports.
const (
	// CauseAggregator: an LACP partner came or went.
	CauseAggregator = "aggregator changed"
	// CauseUnannounced: a PF has other settings for a VF, or sriov-cni's files about it have changed.
	CauseUnannounced = "settings on a PF or files of sriov-cni changed"
)

// Poll describes what to check of a bond that changes without an event.
type Poll struct {
	// Every is the interval of the checks.
	Every time.Duration
	// record has what is needed to find the bond and its members.
	record *bond.Record
	// lacp: the aggregator is checked.
	lacp       bool
	aggregator *bond.Aggregator
	// observed has the members as they were; nil if none is a VF.
	observed *bond.Observed
}

// pollOf returns nil if the kernel reports all changes with events. vfEvery is the interval for VFs.
func pollOf(rec *bond.Record, obs *bond.Observed, vfEvery time.Duration) *Poll {
	b := obs.Bond
	if rec.Deleted() || b == nil {
		return nil
	}
	p := &Poll{
		Every:    vfEvery,
		record:   &bond.Record{Key: rec.Key, Phase: rec.Phase, Spec: bond.Spec{Name: rec.Spec.Name}, Sandbox: rec.Sandbox, BondIndex: rec.BondIndex, Members: rec.Members},
		observed: unannounced(obs, rec),
	}
	p.lacp = needsLACPCheck(b)
	if p.lacp {
		p.aggregator, p.Every = b.Aggregator, min(p.Every, lacpSlow)
		if b.Options[bond.OptLacpRate] == "fast" {
			p.Every = lacpFast
		}
	}
	if !p.lacp && p.observed == nil {
		return nil
	}
	return p
}

// needsLACPCheck reports whether the bond's aggregator can change without an event. In all modes except 802.3ad the
// monitors report members and carriers (bond_lower_state_changed), but a partner may come and go without a change of
// either.
func needsLACPCheck(b *bond.ObservedBond) bool {
	return b.Up && b.Options.Mode() == bond.Mode8023AD
}

// unannounced returns the part of an observation that Kernel.Unannounced needs and reads; nil if no member is a VF.
func unannounced(obs *bond.Observed, rec *bond.Record) *bond.Observed {
	o := &bond.Observed{SandboxAlive: obs.SandboxAlive, Bond: &bond.ObservedBond{Link: obs.Bond.Link}}
	any := false
	for i := range obs.Members {
		m := &obs.Members[i]
		any = any || rec.Members[i].PCI != ""
		o.Members = append(o.Members, bond.ObservedMember{
			Location: m.Location, Link: m.Link, PFSettings: m.PFSettings, PFSettingsError: m.PFSettingsError,
			ForeignClaim: m.ForeignClaim, Ownership: m.Ownership, OwnershipReason: m.OwnershipReason, SriovCNI: m.SriovCNI,
		})
	}
	if !any {
		return nil
	}
	return o
}

// Changed reports what differs from when p was made, or cannot be read; empty if nothing does.
func (e *Engine) Changed(ctx context.Context, p *Poll) (cause string) {
	if p.lacp {
		now, err := e.kernel.Aggregator(ctx, p.record)
		if err != nil || (now == nil) != (p.aggregator == nil) || now != nil && *now != *p.aggregator {
			return CauseAggregator
		}
	}
	if p.observed != nil && !reflect.DeepEqual(e.kernel.Unannounced(ctx, p.record, *p.observed), *p.observed) {
		return CauseUnannounced
	}
	return ""
}
