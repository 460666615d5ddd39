package plan

import "github.com/bondkeeper/bondkeeper/pkg/bond"

// Input is all that a plan depends on.
type Input struct {
	Record   *bond.Record
	Observed bond.Observed
	// Hints has one entry per member, in the record's order; nil means no hints.
	Hints []Hint
	// FirstDEL: the caller is the DEL that made the record a tombstone. The plugins that attached the members run
	// theirs after it, so a lost VF whose owner no file shows may still be returned to the pod for them.
	FirstDEL bool
	// Stopping: the container runtime reports the sandbox as stopping or stopped.
	Stopping bool
}

// Hint is what the caller knows about one member from earlier reconciles.
type Hint struct {
	// Overdue: it has been without carrier, while its PF has one, for longer than allowed.
	Overdue bool
	// Bounced: it has already been set down and up because of that.
	Bounced bool
}

// Verdict summarises a plan.
type Verdict string

// The verdicts.
const (
	// Converged: the kernel is as recorded. There may be findings nevertheless, about
	// what the agent does not change (a PF without carrier).
	Converged Verdict = "converged"
	// Act: there are actions to apply now.
	Act Verdict = "act"
	// Wait: nothing can be done until an event arrives or a retry is due.
	Wait Verdict = "wait"
	// Stuck: manual action is needed; a finding describes it.
	Stuck Verdict = "stuck"
)

// Plan is the result of Diff.
type Plan struct {
	Verdict  Verdict
	Actions  []Action
	Findings []Finding
	// Warnings are about what costs no traffic and is left alone.
	Warnings []string
	// AnnounceLater: the plan sets addresses or the MAC, and the bond has no carrier yet, or its addresses are unread.
	AnnounceLater bool
	causes        []int // the finding of each action, or -1
}

// Cause returns the text of the finding that action i follows from; empty if there is none.
func (p *Plan) Cause(i int) string {
	if i >= len(p.causes) || p.causes[i] < 0 {
		return ""
	}
	return p.Findings[p.causes[i]].Text
}

// OnBond is the Member of an action or finding that concerns the bond itself.
const OnBond = -1

// Finding is a deviation from the desired state, whether or not the plan has an action for it.
type Finding struct {
	// Member is the index in the record, or OnBond.
	Member int
	Code   Code
	// Text is for users: which link, what was found, what to do.
	Text string
}

// Code classifies a finding.
type Code string

// The codes of findings.
const (
	SandboxGone  Code = "SandboxGone"
	BondMissing  Code = "BondMissing"
	NameTaken    Code = "NameTaken"
	OptionDrift  Code = "OptionDrift"
	MemberLost   Code = "MemberLost"
	MemberInHost Code = "MemberInHost"
	NotEnslaved  Code = "NotEnslaved"
	Renamed      Code = "Renamed"
	Claimed      Code = "Claimed"
	MACDiffers   Code = "MACDiffers"
	NoCarrier    Code = "NoCarrier"
	LinkDown     Code = "LinkDown"
	// LinkDisabled: the PF has disabled the VF's link.
	LinkDisabled Code = "LinkDisabled"
	// NotUsed: a member has carrier, but the bonding driver does not use it.
	NotUsed Code = "NotUsed"
	// Aggregation: in mode 802.3ad the bond has no LACP partner, or fewer ports than minLinks.
	Aggregation   Code = "Aggregation"
	UnknownMember Code = "UnknownMember"
	// DuplicateAddress: an address failed duplicate address detection, so the kernel does not use it.
	DuplicateAddress Code = "DuplicateAddress"
	// NotProven: a virtual link from the host cannot be returned, because no link is proven to be it.
	NotProven Code = "NotProven"
	// MACAway: the bond has another member's MAC until the owner of the recorded one carries traffic again.
	MACAway Code = "MACAway"
	// NotActive: another member than activeSlave is active, and the bond has not settled yet.
	NotActive Code = "NotActive"
	// MTUDiffers: the bond or a member has another MTU. It is separate from SettingsChanged because some drivers
	// (igbvf) reset the VF to change it, which interrupts the carrier and may cause a failover.
	MTUDiffers Code = "MTUDiffers"
	// Released: the plugin that attached the VF has returned it to its owner, so it is left alone.
	Released Code = "Released"
	// Ambiguous: the member's PCI function has several links, and which one is the member is not known.
	Ambiguous Code = "Ambiguous"
	// OwnerUnreadable: a file that shows whether the VF still belongs to the pod cannot be read. It is not attached.
	OwnerUnreadable Code = "OwnerUnreadable"
	// Unidentified: it is not known which link the member is, so it is never attached.
	Unidentified Code = "Unidentified"
	// SettingsChanged: the bond's MAC, options, addresses or routes are not as recorded and are restored.
	SettingsChanged Code = "SettingsChanged"
	// NotRestored: configuration of another writer was lost with the bond or a member and is not restored yet.
	NotRestored Code = "NotRestored"
	// NotRecorded: configuration of another writer cannot be restored, because the record does not have it.
	NotRecorded Code = "NotRecorded"
	// PFSettingsChanged: the PF has other settings for the VF than sriov-cni was asked for. They are restored.
	PFSettingsChanged Code = "PFSettingsChanged"
	// PFDrift: the PF has another VLAN or MAC for the VF than before, with which the pod loses traffic. They are not
	// restored, because sriov-cni was not asked for them.
	PFDrift Code = "PFDrift"
	// LinksMissing: links on top of the bond were deleted with an earlier bond.
	LinksMissing Code = "LinksMissing"
	// RDMAInHost: the VF's RDMA device, which another writer had moved into the pod, is in the host.
	RDMAInHost Code = "RDMAInHost"
	// Unread: the bond's addresses and routes are not known.
	Unread Code = "Unread"
	// LeaseUnconfirmed: the addresses are not added until the DHCP daemon has confirmed their lease.
	LeaseUnconfirmed Code = "LeaseUnconfirmed"
	// LeaseLost: the lease could not be acquired again; the addresses are not used.
	LeaseLost Code = "LeaseLost"
)

// needsManualAction reports whether a finding remains until a user acts.
func (c Code) needsManualAction() bool {
	return c == NameTaken || c == Claimed || c == OptionDrift || c == DuplicateAddress || c == Ambiguous || c == NotRestored || c == NotRecorded || c == LeaseLost
}
