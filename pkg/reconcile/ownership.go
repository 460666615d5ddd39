package reconcile

import (
	"context"
	"errors"
	"fmt"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// observe reads the bond, and who else names the VFs in the host where no file of their plugin shows whose they are.
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
		if !weak(&rec.Members[i], &obs.Members[i]) {
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
		obs.Members[i].OtherRecord = e.namedBy(others, rec, rec.Members[i].PCI)
	}
	return obs, nil
}

// weak: a VF in the host that could be taken without a claim for this pod.
func weak(m *bond.Member, om *bond.ObservedMember) bool {
	claimed := m.SriovCNI != nil && m.SriovCNI.Claim != ""
	return m.PCI != "" && om.Place == bond.InHost && !claimed && om.Ownership.MayChange()
}

// namedBy is another live record that names a PCI function; empty if there is none. A record whose netns is gone
// does not count: its VFs were returned to the host.
func (e *Engine) namedBy(others []*bond.Record, rec *bond.Record, pci bond.PCIAddress) string {
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

// recordSriovCNI records the files of sriov-cni that were found for VFs in the pod, in records of versions that did not.
func recordSriovCNI(rec *bond.Record, obs *bond.Observed) (changed bool) {
	for i := range obs.Members {
		if found := obs.Members[i].SriovCNI; found != nil && rec.Members[i].SriovCNI == nil {
			rec.Members[i].SriovCNI, changed = found, true
		}
	}
	return changed
}
