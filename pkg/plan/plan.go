package plan

import "github.com/bondkeeper/bondkeeper/pkg/bond"

// Input is all that a plan depends on.
type Input struct {
	Record   *bond.Record
	Observed bond.Observed
	// Hints has an entry a member, in the record's order; nil means no hints at all.
	Hints []Hint
	// FirstDEL: the caller is the DEL that made the record a tombstone. The plugins that attached the members run
	// theirs after it, so a lost VF whose owner no file shows may still be put back for them.
	FirstDEL bool
	// Stopping: the container runtime reports the sandbox as stopping or stopped.
	Stopping bool
}

// Hint is what the caller remembers of one member and the planner cannot see.
type Hint struct {
	// Overdue: it has been without carrier, while its PF has one, for longer than allowed.
	Overdue bool
	// Bounced: that was already answered by setting it down and up.
	Bounced bool
}

// Verdict is what a plan comes to.
type Verdict string

// The verdicts.
const (
	// Converged: the kernel is as recorded. There may be findings all the same, of
	// things that are not ours to change (a PF without carrier).
	Converged Verdict = "converged"
	// Act: there are actions to apply now.
	Act Verdict = "act"
	// Wait: nothing can be done until an event comes or a hold ends.
	Wait Verdict = "wait"
	// Stuck: nothing can be done until a person does something; a finding says what.
	Stuck Verdict = "stuck"
)

// Plan is the answer of Diff.
type Plan struct {
	Verdict  Verdict
	Actions  []Action
	Findings []Finding
	causes   []int // the finding of each action, or -1
}

// Cause is the text of the finding that action i is about; empty if there is none.
func (p *Plan) Cause(i int) string {
	if i >= len(p.causes) || p.causes[i] < 0 {
		return ""
	}
	return p.Findings[p.causes[i]].Text
}

// OnBond is the Member of an action or finding that concerns the bond itself.
const OnBond = -1

// Finding is something that is not as it should be, whether or not the plan does
// something about it.
type Finding struct {
	// Member is the index in the record, or OnBond.
	Member int
	Code   Code
	// Text is for people: which link, what was found, what to do.
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
	Stranger     Code = "Stranger"
	// DuplicateAddress: an address failed duplicate address detection, so the kernel does not use it.
	DuplicateAddress Code = "DuplicateAddress"
	// NotProven: a virtual link from the host cannot be given back, because no link is proven to be it.
	NotProven Code = "NotProven"
	// MACAway: the bond has another member's MAC until the owner of the recorded one carries again.
	MACAway Code = "MACAway"
	// NotActive: another member is active than the one that is to be so at first.
	NotActive Code = "NotActive"
	// MTUDiffers: the bond or a member has another MTU. It stands apart from SettingsChanged because some drivers
	// (igbvf) reset the VF to change it, which costs the carrier for a moment and may make the bond fail over.
	MTUDiffers Code = "MTUDiffers"
	// Released: the plugin that attached the VF has returned it to its owner, so it is left alone.
	Released Code = "Released"
	// Ambiguous: the member's PCI function has several links, and which one is the member is not known.
	Ambiguous Code = "Ambiguous"
	// OwnerUnreadable: a file that shows whether the VF is still the pod's cannot be read. It is not taken.
	OwnerUnreadable Code = "OwnerUnreadable"
	// Unidentified: it is not known which link the member is, so it is never attached.
	Unidentified Code = "Unidentified"
	// SettingsChanged: the bond's MAC, options, addresses or routes are not as recorded and are put back.
	SettingsChanged Code = "SettingsChanged"
	// NotRestored: something that another writer configured was lost with the bond or a member and is not back.
	NotRestored Code = "NotRestored"
	// NotKept: something that another writer configured cannot be restored, because the record does not hold it.
	NotKept Code = "NotKept"
	// Unread: the bond's addresses and routes are not known.
	Unread Code = "Unread"
	// LeaseUnconfirmed: the addresses are held back until the DHCP daemon confirmed their lease.
	LeaseUnconfirmed Code = "LeaseUnconfirmed"
	// LeaseLost: the lease could not be obtained again; the addresses are not used.
	LeaseLost Code = "LeaseLost"
)

// needsManualAction reports whether a finding remains until a user acts.
func (c Code) needsManualAction() bool {
	return c == NameTaken || c == Claimed || c == OptionDrift || c == DuplicateAddress || c == Ambiguous || c == NotRestored || c == NotKept || c == LeaseLost
}
