package reconcile

import (
	"context"
	"errors"
	"fmt"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// observe reads the bond's state. If no file of a VF's plugin shows its owner, it also searches other records for the
// VF.
func (e *Engine) observe(ctx context.Context, rec *bond.Record) (bond.Observed, error) {
	kernelCtx, stop := e.untilDeleted(ctx, rec)
	obs, err := e.kernel.Observe(kernelCtx, rec)
	stop()
	if cause := context.Cause(kernelCtx); err != nil && errors.Is(cause, errDeleted) {
		err = cause
	}
	if err != nil || e.records == nil {
		return obs, err
	}
	var others []*bond.Record
	listed := false
	for i := range obs.Members {
		if !hasNoClaim(&rec.Members[i], &obs.Members[i]) {
			continue
		}
		if !listed {
			others, err = e.records(ctx)
			listed = true
		}
		if err != nil { // it concerns this VF only
			obs.Members[i].OtherRecord = fmt.Sprintf("unknown (%v)", err)
			continue
		}
		obs.Members[i].OtherRecord = e.otherRecord(others, rec, rec.Members[i].PCI)
	}
	return obs, nil
}

// hasNoClaim reports whether a VF in the host would be taken without a claim for this pod.
func hasNoClaim(m *bond.Member, om *bond.ObservedMember) bool {
	claimed := m.SriovCNI != nil && m.SriovCNI.Claim != ""
	return m.PCI != "" && om.Location == bond.InHost && !claimed && om.Ownership.MayChange()
}

// otherRecord describes another live record with the PCI function; empty if there is none. A record whose netns is gone
// does not count: its VFs were returned to the host.
func (e *Engine) otherRecord(others []*bond.Record, rec *bond.Record, pci bond.PCIAddress) string {
	for _, o := range others {
		if o.Key == rec.Key || o.Deleted() || o.MemberByPCI(pci) < 0 {
			continue
		}
		if e.sandboxAlive != nil {
			if alive, err := e.sandboxAlive(o.Sandbox); err == nil && !alive {
				continue
			}
		}
		return fmt.Sprintf("%s of pod %s", o.BondName(), o.Pod)
	}
	return ""
}

// recordSriovCNI records the files of sriov-cni that were found for VFs in the pod, if an earlier version did not.
func recordSriovCNI(rec *bond.Record, obs *bond.Observed) (changed bool) {
	for i := range obs.Members {
		if found := obs.Members[i].SriovCNI; found != nil && rec.Members[i].SriovCNI == nil {
			rec.Members[i].SriovCNI, changed = found, true
		}
	}
	return changed
}
