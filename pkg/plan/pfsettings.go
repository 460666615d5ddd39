package plan

import (
	"fmt"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// planPFSettings compares the PF-side settings of a VF in the bond. Those that sriov-cni was asked for are restored.
// Others were an administrator's or a driver's to set, so they are compared with what the PF reported after set-up, and
// reported.
func (b *builder) planPFSettings(i int, m *bond.ObservedMember) {
	rec := &b.rec.Members[i]
	if rec.VF != nil && m.PFSettingsError != "" {
		b.plan.Warnings = append(b.plan.Warnings, fmt.Sprintf("%s: changes of its settings on its PF %s are not noticed: %s", rec, rec.VF.PF, m.PFSettingsError))
	}
	if rec.VF == nil || m.PFSettings == nil {
		return
	}
	have, requested := *m.PFSettings, requestedPFSettings(rec)
	restore := requested.NotMet(have)
	if restore.MAC != nil && acceptsPFMAC(b.rec, i, m.Link.MAC, have) {
		restore.MAC = nil
	}
	if !restore.Empty() && m.Ownership == bond.Owned && m.ForeignClaim == "" {
		b.report(i, PFSettingsChanged, "%s: its PF %s has %s, sriov-cni was asked for %s", rec, rec.VF.PF, have.Only(restore), restore)
		b.add(RestoreVF{MemberIndex: MemberIndex(i), PCI: rec.PCI, VF: *rec.VF, Settings: restore})
	} else {
		b.reportPFDrift(i, have, restore, "not restored, because it is not known whether the VF still belongs to the pod")
	}
	changed := bond.VFSettings{}
	if rec.VF.Observed != nil {
		changed = rec.VF.Observed.Without(requested).NotMet(have)
		changed.MAC, changed.LinkState = nil, nil
	}
	if restore.MAC == nil && ForeignPFMAC(b.rec, i, m.Link.MAC, have) {
		changed.MAC = new(m.Link.MAC)
	}
	b.reportPFDrift(i, have, changed, "sriov-cni was not asked for it, so it is left alone")
}

// acceptsPFMAC reports whether the MAC that a PF reports for a VF in the bond is left alone although sriov-cni was
// asked for another. The PF would drop the traffic of a VF that has, or is to have, another MAC in the bond. Where
// members swap MACs, the PF reports the MAC that the kernel has set last, which may be another member's: in balance-tlb
// the kernel gives an inactive member its own MAC back without informing the card (alb_set_slave_mac_addr), and informs
// it when the member becomes active.
func acceptsPFMAC(r *bond.Record, i int, own bond.MAC, have bond.VFSettings) bool {
	requested := *requestedPFSettings(&r.Members[i]).MAC
	switch o := r.Spec.Options; {
	case requested != own:
		return true
	case o.SwapsMACs():
		return !ForeignPFMAC(r, i, own, have)
	default:
		return o.SharesMAC() && r.Spec.MAC != "" && requested != r.Spec.MAC
	}
}

// PFSettingsDecide reports whether something is recorded or planned because of the settings that a PF has for the VF of
// member i, whose MAC is own. They must not be older than the rest of the observation then: the VF may have been
// another pod's.
func PFSettingsDecide(r *bond.Record, i int, own bond.MAC, have bond.VFSettings) bool {
	vf := r.Members[i].VF
	if ForeignPFMAC(r, i, own, have) {
		return true
	}
	requested := requestedPFSettings(&r.Members[i])
	if requested.MAC != nil && acceptsPFMAC(r, i, own, have) {
		requested.MAC = nil
	}
	if !requested.NotMet(have).Empty() {
		return true
	}
	if vf.Observed == nil {
		return !r.InSetup() // they are recorded after set-up
	}
	observed := *vf.Observed
	observed.MAC, observed.LinkState = nil, nil
	return !observed.NotMet(have).Empty()
}

// requestedPFSettings are those that sriov-cni was asked for. Of a VF without its files it is not known whether any
// plugin was. The link state is not restored: an operator disables it on purpose.
func requestedPFSettings(rec *bond.Member) bond.VFSettings {
	if rec.SriovCNI == nil {
		return bond.VFSettings{}
	}
	s := rec.VF.Settings
	s.LinkState = nil
	return s
}

// reportPFDrift reports settings that are not restored. With another VLAN or MAC the PF drops the pod's traffic, or
// sends it to another network, so the bond is not Ready. Rates, priority, trust and spoof checking are a warning.
func (b *builder) reportPFDrift(i int, have, want bond.VFSettings, advice string) {
	if want.Empty() {
		return
	}
	text := fmt.Sprintf("%s: its PF %s has %s instead of %s; %s", &b.rec.Members[i], b.rec.Members[i].VF.PF, have.Only(want), want, advice)
	if want.MAC != nil || want.VLAN != nil && otherVLAN(want.VLAN, have.VLAN) {
		b.report(i, PFDrift, "%s", text)
		return
	}
	b.plan.Warnings = append(b.plan.Warnings, text)
}

func otherVLAN(want, have *bond.VLAN) bool {
	return want.ID != have.ID || want.Proto != 0 && want.Proto != have.Proto
}

// ForeignPFMAC reports whether a PF has a MAC for the VF of member i with which the VF cannot have traffic: neither the
// VF's own, nor one that the VF had before, nor one of the bond. A driver reports the MAC that its VF uses, or the one
// that was set on the PF.
func ForeignPFMAC(r *bond.Record, i int, own bond.MAC, have bond.VFSettings) bool {
	if have.MAC == nil || have.MAC.IsZero() {
		return false
	}
	mac := *have.MAC
	if mac == own || mac == r.Spec.MAC {
		return false
	}
	if before := r.Members[i].VF.Observed; before != nil && before.MAC != nil && *before.MAC == mac {
		return false
	}
	for j := range r.Members {
		if m := &r.Members[j]; mac == m.MAC || mac == m.Original.MAC {
			return false
		}
	}
	return true
}

// RecordPFSettings records what the PFs report about VFs after the pod's set-up. It reports whether the record changed.
func RecordPFSettings(rec *bond.Record, obs *bond.Observed) (changed bool) {
	if rec.Phase != bond.PhaseReady || rec.InSetup() {
		return false
	}
	for i := range rec.Members {
		m, o := &rec.Members[i], &obs.Members[i]
		if m.VF != nil && m.VF.Observed == nil && o.PFSettings != nil && !m.Restoring && obs.Enslaved(i) {
			m.VF.Observed, changed = new(*o.PFSettings), true
		}
	}
	return changed
}
