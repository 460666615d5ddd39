package plan

import (
	"slices"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// planMembers returns every member to the bond, in an order that gives an empty bond its recorded
// MAC: the kernel takes it from the first member.
func (b *builder) planMembers() {
	owner := b.macOwner()
	if owner >= 0 {
		b.planMember(owner)
	}
	for i := range b.rec.Members {
		if i != owner {
			b.planMember(i)
		}
	}
}

// macOwner returns the member whose own MAC is the bond's recorded one; -1 if there is none.
func (b *builder) macOwner() int {
	for i := range b.rec.Members {
		if mac := b.rec.Members[i].MAC; mac != "" && mac == b.rec.Spec.MAC {
			return i
		}
	}
	return -1
}

func (b *builder) enslaved(m *bond.ObservedMember) bool {
	return m.Location == bond.InPod && b.obs.Bond != nil && m.Link.Master == b.obs.Bond.Index
}

func (b *builder) planMember(i int) {
	rec, m := &b.rec.Members[i], &b.obs.Members[i]
	if rec.Unidentified {
		b.report(i, Unidentified, "%s was missing when the bond was created, and it is not known which link it is; recreate the pod to attach it", rec)
		return
	}
	switch {
	case m.Ambiguous != "":
		b.report(i, Ambiguous, "%s: its PCI function has several links: %s; it is not known which one is the member, and none is changed. Recreate the pod", rec, m.Ambiguous)
		return
	case m.Ownership == bond.Released:
		b.reportReleased(i, m)
		return
	case m.Ownership == bond.Unreadable && m.Location != bond.InHost: // there it is reported once
		b.report(i, OwnerUnreadable, "%s: whether it still belongs to this pod cannot be read, so it would not be attached again: %s", rec, m.OwnershipReason)
	}
	switch m.Location {
	case bond.InHost:
		b.planFromHost(i, m)
	case bond.InPod:
		if b.enslaved(m) {
			b.planMemberName(i, &m.Link)
			b.planEnslaved(i, m)
		} else {
			b.planEnslave(i, m)
		}
	default:
		b.reportLost(i, rec)
		if t := m.NameHolder; t != nil {
			b.report(i, NameTaken, "a link %s (ifindex %d, kind %q) in the pod has the name of %s but is another link; it is left alone", t.Name, t.Index, t.Kind, rec)
		}
	}
}

// reportLost reports a member that is in neither netns. Only a device can return by itself.
func (b *builder) reportLost(i int, rec *bond.Member) {
	if rec.PCI != "" {
		b.reportWaiting(i, MemberLost, "%s is in neither the pod nor the host%s", rec, driverText(b.obs.Members[i].Driver))
		return
	}
	b.reportWaiting(i, MemberLost, "%s (%s) is no longer in the pod; recreate the pod to attach it again", rec, kindOf(rec))
}

// noLinkDrivers are bound to devices that programs or virtual machines use. They create no network link.
var noLinkDrivers = []string{"vfio-pci", "mlx5_vfio_pci", "uio_pci_generic", "igb_uio", "pci-stub"}

// driverText is why a VF has no link, by its driver, and what is awaited.
func driverText(driver string) string {
	switch {
	case driver == "":
		return "; waiting for its driver to bring it back"
	case driver == bond.NoDevice:
		return ": the node has no such PCI function; waiting for its PF to create it (sriov_numvfs)"
	case driver == bond.NoDriver:
		return ": no driver bound; waiting for its driver to bring it back"
	case slices.Contains(noLinkDrivers, driver):
		return ": bound to " + driver + ": no kernel interface; bind it to its network driver"
	default:
		return ": bound to " + driver + ", so its link is in another netns or will come; waiting for it"
	}
}

func kindOf(m *bond.Member) string {
	if m.Kind == "" {
		return "a virtual link"
	}
	return m.Kind
}

// planFromHost returns a member to the pod. The settings that its PF has lost are restored first, so that it never
// carries traffic with other settings.
func (b *builder) planFromHost(i int, m *bond.ObservedMember) {
	rec := &b.rec.Members[i]
	b.reportWaiting(i, MemberInHost, "%s is in the host's netns as %s", rec, m.Link.Name)
	if !b.mayTake(i, m) {
		return
	}
	var have *bond.VFSettings
	if m.PF != nil {
		have = &m.PF.VF
	}
	if !b.restoreOnPF(i, have, MemberInHost) {
		return
	}
	name := rec.Name
	if t := m.NameHolder; t != nil {
		name = rec.TempName()
		if temp := m.TempNameHolder; temp != nil {
			b.report(i, NameTaken, "links in the pod have the name of %s (%s, ifindex %d, kind %q) and its temporary name %s (%s, ifindex %d, kind %q); not attached. Rename or delete one of them",
				rec, t.Name, t.Index, t.Kind, name, temp.Name, temp.Index, temp.Kind)
			return
		}
		b.report(i, NameTaken, "a link %s (ifindex %d, kind %q) in the pod has the name of %s, which is attached as %s; rename or delete that link", t.Name, t.Index, t.Kind, rec, name)
	}
	move := MoveToPod{MemberIndex: MemberIndex(i), Link: LinkRefOf(bond.InHost, &m.Link), Name: name, MAC: rec.MAC, MTU: rec.Original.MTU, Alias: rec.Original.Alias, Index: rec.Index}
	b.add(move)
	if m.NameHolder == nil {
		b.enslave(i, moved(m.Link, &move))
	}
}

// moved returns a link as it is after its move, so that what follows need not be observed and planned first. The kernel
// keeps its ifindex if that is free in the pod. Otherwise what follows is stale, and planned again in the next round.
func moved(l bond.Link, a *MoveToPod) bond.Link {
	l.Name, l.Up, l.Master = a.Name, false, 0
	if l.PCI == "" && a.Index != 0 {
		l.Index = a.Index
	}
	if a.MAC != "" {
		l.MAC = a.MAC
	}
	return l
}

// restoreOnPF plans to restore what the PF of a VF outside the bond has lost; have are its settings there, nil if they are
// not known. It returns false if the VF is not attached because of that.
func (b *builder) restoreOnPF(i int, have *bond.VFSettings, code Code) bool {
	rec := &b.rec.Members[i]
	if rec.VF == nil {
		return true
	}
	want := b.pfSettings(rec)
	if have == nil {
		if !want.Empty() {
			b.report(i, code, "%s: its PF %s has no usable network link, or does not report the VF yet, so its settings cannot be verified (%s); not attached", rec, rec.VF.PF, want)
		}
		return want.Empty()
	}
	if d := want.Diff(*have); !d.Empty() {
		b.add(RestoreVF{MemberIndex: MemberIndex(i), PCI: rec.PCI, VF: *rec.VF, Settings: d})
	}
	return true
}

// pfSettings returns the settings to restore on the PF. In the bond the member may have another MAC: the bond's, or one
// swapped with other members. An untrusted VF can have it only while its PF has set no MAC. To set one that was not
// requested would exclude the member (igb, i40e, ice).
func (b *builder) pfSettings(rec *bond.Member) bond.VFSettings {
	s := rec.VF.Settings
	s.LinkState = nil // that of the PF stays: it may have been disabled on purpose
	if s.MAC == nil {
		return s
	}
	trusted := s.Trust != nil && *s.Trust
	hasOwnMAC := b.rec.Spec.Options.MACFollowsActive() && rec.MAC == *s.MAC
	if s.MAC.IsZero() || !hasOwnMAC && !trusted {
		s.MAC = nil
	}
	return s
}

// mayTake rejects a link of the host that no longer belongs to the pod, or that has another user or claim. The executor
// checks it again.
func (b *builder) mayTake(i int, m *bond.ObservedMember) bool {
	rec := &b.rec.Members[i]
	switch {
	case m.Ownership == bond.Released:
		b.reportReleased(i, m)
	case m.Ownership == bond.Unreadable:
		b.report(i, OwnerUnreadable, "%s: whether it still belongs to this pod cannot be read; not attached: %s", rec, m.OwnershipReason)
	case m.ForeignClaim != "":
		b.report(i, Claimed, "%s is claimed for netns %s by another plugin; not attached. If that claim is stale, remove it", rec, m.ForeignClaim)
	case m.Link.Master != 0:
		b.report(i, Claimed, "%s is enslaved in the host (to ifindex %d); not attached. Release it there", rec, m.Link.Master)
	case !hasNoClaim(rec, m):
		return true
	case m.OtherRecord != "":
		b.report(i, Claimed, "%s is also recorded for bond %s; not attached", rec, m.OtherRecord)
	case b.rec.Deleted() && !b.firstDEL:
		b.reportWaiting(i, Released, "%s is in the host, and the plugin that attached it may have returned it to its owner since the first DEL; left alone", rec)
	case b.stopping && !b.rec.Deleted():
		b.reportWaiting(i, Released, "%s is in the host, and the container runtime is stopping the pod; left alone", rec)
	default:
		return true
	}
	return false
}

// hasNoClaim reports whether no file of the VF's plugin shows to which pod it belongs (host-device, and versions of
// sriov-cni that write no claim).
func hasNoClaim(rec *bond.Member, m *bond.ObservedMember) bool {
	return rec.PCI != "" && (m.Ownership == bond.OwnerUnknown || rec.SriovCNI != nil && rec.SriovCNI.Claim == "")
}

// reportReleased reports a VF that no longer belongs to the pod. Nothing is changed on it or for it.
func (b *builder) reportReleased(i int, m *bond.ObservedMember) {
	remedy := ". Recreate the pod to have it in the bond"
	if b.rec.Deleted() {
		remedy = ""
	}
	b.reportWaiting(i, Released, "%s was returned to its owner by sriov-cni (%s) and is %s; left alone%s", &b.rec.Members[i], m.OwnershipReason, m.Location, remedy)
}

// wouldPreempt reports whether enslaving the member would make it active against primary_reselect: bond_enslave makes a
// link with the primary's name active regardless of that option. A link that gets the name afterwards does not become
// active.
func (b *builder) wouldPreempt(rec *bond.Member) bool {
	o := b.rec.Spec.Options
	return o[bond.OptPrimary] == rec.Name && mustNotPreempt(o) && b.obs.Bond.Active != 0
}

// mustNotPreempt reports whether a returning primary must not become active.
func mustNotPreempt(o bond.Options) bool {
	return o[bond.OptPrimaryReselect] == "failure" || o[bond.OptPrimaryReselect] == "better"
}

// planEnslave enslaves a member that is in the pod. Its driver may have created it there. One that was not lost has the
// settings on its PF that it had in the bond.
func (b *builder) planEnslave(i int, m *bond.ObservedMember) {
	ref, down := LinkRefOf(bond.InPod, &m.Link), m.Link
	b.reportWaiting(i, NotEnslaved, "%s is in the pod but not in the bond", &b.rec.Members[i])
	if b.rec.Members[i].Restoring && !b.restoreOnPF(i, m.PFSettings, NotEnslaved) {
		return
	}
	if m.Link.Master != 0 {
		b.add(Release{MemberIndex: MemberIndex(i), Link: ref})
	}
	if m.Link.Up {
		b.add(SetDown{MemberIndex: MemberIndex(i), Link: ref})
	}
	down.Up = false
	b.enslave(i, down)
}

// enslave enslaves a member that is in the pod and down, because of its last finding; the kernel then sets it up
// (bond_enslave). A primary that must not become active gets a temporary name, which the next round corrects. The kernel
// may not know the primary's name, if it was away when the bond was created, and does not report it. So it is set before:
// a member that is made the primary becomes active (bond_option_primary_set).
func (b *builder) enslave(i int, l bond.Link) {
	rec, ref, cause := &b.rec.Members[i], LinkRefOf(bond.InPod, &l), b.lastFinding(i)
	if b.wouldPreempt(rec) {
		if l.Name == rec.Name {
			b.addBecause(cause, SetOptions{MemberIndex: MemberIndex(i), Bond: b.bondRef(), Options: bond.Options{bond.OptPrimary: rec.Name}})
		}
		b.takeTempName(i, rec.TempName(), &l)
	} else {
		b.planMemberName(i, &l)
	}
	if mac := b.enslaveMAC(i); mac != "" && mac != l.MAC {
		b.addBecause(cause, SetMAC{MemberIndex: MemberIndex(i), Link: ref, MAC: mac})
	}
	b.addBecause(cause, Enslave{MemberIndex: MemberIndex(i), Link: ref, Bond: b.bondRef()})
	b.planNewMemberOptions(i, ref)
}

// planEnslaved restores the settings of a member that is in the bond.
func (b *builder) planEnslaved(i int, m *bond.ObservedMember) {
	rec, ref, spec := &b.rec.Members[i], LinkRefOf(bond.InPod, &m.Link), &b.rec.Spec
	if spec.MTU != 0 && m.Link.MTU != spec.MTU {
		b.report(i, MTUDiffers, "%s has MTU %d, not %d", rec, m.Link.MTU, spec.MTU)
		b.add(SetMTU{MemberIndex: MemberIndex(i), Link: ref, MTU: spec.MTU})
	}
	if spec.Options.MACFollowsActive() && !b.macUnknown && rec.MAC != "" && m.Link.MAC != rec.MAC {
		b.report(i, MACDiffers, "%s has MAC %s, not %s", rec, m.Link.MAC, rec.MAC)
		// The bond keeps its MAC when that of its active member is set, so the two agree afterwards only if it has the
		// recorded one.
		if inactive := m.Link.Index != b.obs.Bond.Active; inactive || b.obs.Bond.MAC == rec.MAC {
			b.add(SetMAC{MemberIndex: MemberIndex(i), Link: ref, MAC: rec.MAC, Inactive: inactive})
		}
	}
	b.planSharedMAC(i, m)
	if spec.Options.SwapsMACs() && !b.macUnknown {
		b.separateMACs(i, m)
	}
	b.planPFSettings(i, m)
	b.reportRDMA(i, m)
	b.planMemberOptions(i, m)
	b.planMemberExtras(i, m)
	if !m.Link.Up {
		b.report(i, LinkDown, "%s is administratively down", rec)
		b.add(SetUp{MemberIndex: MemberIndex(i), Link: ref})
		return
	}
	b.planCarrier(i, m)
}

// planCarrier handles a member that is up without carrier. While its PF has no carrier
// either, there is nothing to do; otherwise the VF itself may be stuck.
func (b *builder) planCarrier(i int, m *bond.ObservedMember) {
	rec, hint := &b.rec.Members[i], b.hint(i)
	switch {
	case m.Link.Carrier:
		b.reportUnused(i, m)
	case m.PFSettings.HasLinkState(bond.LinkStateDisable):
		b.reportLinkDisabled(i, m)
	case m.PF == nil || !m.PF.Carrier:
		b.reportWaiting(i, NoCarrier, "%s has no carrier%s; check the cable, the switch port and the PF", rec, pfState(m.PF))
	case hint.Bounced:
		b.reportWaiting(i, NoCarrier, "%s has no carrier although its PF %s has; setting it down and up did not help: reset the VF or its PF", rec, m.PF.Name)
	case hint.Overdue:
		b.reportWaiting(i, NoCarrier, "%s has no carrier although its PF %s has; setting it down and up", rec, m.PF.Name)
		b.add(Bounce{MemberIndex: MemberIndex(i), Link: LinkRefOf(bond.InPod, &m.Link)})
	default:
		b.reportWaiting(i, NoCarrier, "%s has no carrier yet, but its PF %s has", rec, m.PF.Name)
	}
}

// reportLinkDisabled reports a VF whose link was disabled on its PF on purpose: to set it down and up would not help,
// and to enable it would undo what an administrator or operator did.
func (b *builder) reportLinkDisabled(i int, m *bond.ObservedMember) {
	rec, name := &b.rec.Members[i], "PF"
	pf := string(rec.VF.PF)
	if m.PF != nil {
		name, pf = m.PF.Name, m.PF.Name+" ("+pf+")"
	}
	b.reportWaiting(i, LinkDisabled, "%s has no carrier because its link state is disable on its PF %s; it is left alone. To enable it: ip link set %s vf %d state auto",
		rec, pf, name, rec.VF.Number)
}

func pfState(pf *bond.ObservedPF) string {
	switch {
	case pf == nil:
		return ""
	case !pf.Up:
		return ", its PF " + pf.Name + " is administratively down"
	default:
		return ", nor has its PF " + pf.Name
	}
}
