package plan

import (
	"fmt"
	"net/netip"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// Action is one change in the kernel. It is applied to exactly the link in its LinkRef, or not at all.
type Action interface {
	fmt.Stringer
	// On is the index of the record's member that the action concerns, or OnBond.
	Subject() int
}

// LinkRef identifies a link: its location, its ifindex there, and its identity. All of them are checked before an
// action is applied; the error is bond.ErrStale if they no longer belong to one link.
type LinkRef struct {
	Location bond.Location
	// Index is the ifindex, or NewBond.
	Index int
	// PCI is empty for a virtual link, which must then have PermMAC and Serial (those that are set).
	PCI     bond.PCIAddress
	PermMAC bond.MAC
	// Serial is bond.Link.Serial. A virtual link is moved to another netns only with it.
	Serial uint64
	// Name is for messages only.
	Name string
}

// NewBond is the Index of the bond that an earlier action of the same plan creates. It is the record's BondIndex by then.
const NewBond = -1

// String describes the link: "net1 (0000:01:10.0, ifindex 4, in pod)".
func (r LinkRef) String() string {
	if r.Index == NewBond {
		return fmt.Sprintf("%s (new, %s)", r.Name, r.Location)
	}
	if r.PCI == "" {
		return fmt.Sprintf("%s (ifindex %d, %s)", r.Name, r.Index, r.Location)
	}
	return fmt.Sprintf("%s (%s, ifindex %d, %s)", r.Name, r.PCI, r.Index, r.Location)
}

// LinkRefOf returns the reference of an observed link.
func LinkRefOf(place bond.Location, l *bond.Link) LinkRef {
	return LinkRef{Location: place, Index: l.Index, PCI: l.PCI, PermMAC: l.PermMAC, Serial: l.Serial, Name: l.Name}
}

// MemberIndex is embedded in every action: the index of the record's member that the action concerns, or OnBond.
type MemberIndex int

// Subject implements Action.
func (m MemberIndex) Subject() int { return int(m) }

// CreateBond creates the bond in the pod, down and without members, with Options, MAC
// and MTU (MAC "" and MTU 0: the kernel's choice). A link of that name must not exist.
type CreateBond struct {
	MemberIndex
	Name    string
	Options bond.Options
	MAC     bond.MAC
	MTU     int
}

// ModeOnly returns the same bond without the options that can be set later, before it has members. The mode cannot.
func (a CreateBond) ModeOnly() CreateBond {
	mode := bond.Options{}
	if m, ok := a.Options[bond.OptMode]; ok {
		mode[bond.OptMode] = m
	}
	a.Options = mode
	return a
}

func (a CreateBond) String() string { return fmt.Sprintf("create bond %s: %s", a.Name, a.Options) }

// SetOptions sets options of the bond, in the order of bond.OptionDefs.
type SetOptions struct {
	MemberIndex
	Bond    LinkRef
	Options bond.Options
}

func (a SetOptions) String() string { return fmt.Sprintf("set %s on %s", a.Options, a.Bond) }

// DeleteBond deletes the bond; the kernel releases its members.
type DeleteBond struct {
	MemberIndex
	Bond LinkRef
}

func (a DeleteBond) String() string { return "delete bond " + a.Bond.String() }

// Rename changes a link's name in its netns. Before Linux 6.2 the kernel rejects it (EBUSY) for a link that is up.
type Rename struct {
	MemberIndex
	Link LinkRef
	To   string
	// Up: the link is up. Interrupt: it carries no traffic that other members could not carry, so that it may be set
	// down for the rename, and up again, if the kernel requires that.
	Up, Interrupt bool
}

func (a Rename) String() string { return fmt.Sprintf("rename %s to %s", a.Link, a.To) }

// SetMAC sets a link's MAC.
type SetMAC struct {
	MemberIndex
	Link LinkRef
	MAC  bond.MAC
	// Inactive: the action fails with bond.ErrStale if the link is now the active member of a bond, whose MAC is the
	// bond's. The kernel may have chosen another member since the observation, and have swapped MACs.
	Inactive bool
}

func (a SetMAC) String() string { return fmt.Sprintf("set MAC %s on %s", a.MAC, a.Link) }

// SetMTU sets a link's MTU.
type SetMTU struct {
	MemberIndex
	Link LinkRef
	MTU  int
}

func (a SetMTU) String() string { return fmt.Sprintf("set MTU %d on %s", a.MTU, a.Link) }

// SetUp sets a link administratively up.
type SetUp struct {
	MemberIndex
	Link LinkRef
}

func (a SetUp) String() string { return "set up " + a.Link.String() }

// SetDown sets a link administratively down.
type SetDown struct {
	MemberIndex
	Link LinkRef
}

func (a SetDown) String() string { return "set down " + a.Link.String() }

// Bounce sets a member down and up again.
type Bounce struct {
	MemberIndex
	Link LinkRef
}

func (a Bounce) String() string { return "bounce " + a.Link.String() }

// Enslave makes a link that is down a member of the bond. Both are in the pod.
type Enslave struct {
	MemberIndex
	Link LinkRef
	Bond LinkRef
}

func (a Enslave) String() string { return fmt.Sprintf("enslave %s to %s", a.Link, a.Bond.Name) }

// Release removes a link from its master.
type Release struct {
	MemberIndex
	Link LinkRef
}

func (a Release) String() string { return "release " + a.Link.String() }

// SetMemberOptions sets the options of a member in the bonding driver; nil fields are not changed.
type SetMemberOptions struct {
	MemberIndex
	Link LinkRef
	Bond LinkRef
	bond.MemberOptions
}

func (a SetMemberOptions) String() string {
	s := "set"
	if a.QueueID != nil {
		s += fmt.Sprintf(" queueId %d", *a.QueueID)
	}
	if a.Prio != nil {
		s += fmt.Sprintf(" prio %d", *a.Prio)
	}
	if a.ActorPortPrio != nil {
		s += fmt.Sprintf(" actorPortPrio %d", *a.ActorPortPrio)
	}
	return s + " of " + a.Link.String()
}

// SetActive makes a member the active one.
type SetActive struct {
	MemberIndex
	Link LinkRef
	Bond LinkRef
}

func (a SetActive) String() string { return fmt.Sprintf("make %s the active member", a.Link) }

// RestoreVF restores settings of a VF on its PF. Nil fields of Settings are not changed.
type RestoreVF struct {
	MemberIndex
	PCI      bond.PCIAddress
	VF       bond.VF
	Settings bond.VFSettings
}

func (a RestoreVF) String() string {
	return fmt.Sprintf("restore the settings of VF %d (%s) on PF %s: %s", a.VF.Number, a.PCI, a.VF.PF, a.Settings)
}

// MoveToPod moves a link from the host's netns into the pod's, with MAC, MTU and alias ("", 0 and "" for no change) and
// the name there. An MTU that the driver rejects is left out. A virtual link gets the ifindex Index.
type MoveToPod struct {
	MemberIndex
	Link  LinkRef
	Name  string
	MAC   bond.MAC
	MTU   int
	Alias string
	Index int
}

func (a MoveToPod) String() string { return fmt.Sprintf("move %s into the pod as %s", a.Link, a.Name) }

// MoveToHost moves a link from the pod's netns to the host's, with the name Name, and a virtual link with the ifindex
// Index. If the host already has a link with that name or ifindex, the executor lets the kernel choose one.
type MoveToHost struct {
	MemberIndex
	Link  LinkRef
	Name  string
	Index int
}

func (a MoveToHost) String() string { return fmt.Sprintf("move %s to the host as %s", a.Link, a.Name) }

// SetLinkSettings sets queue length, flags and sysctls of a link.
type SetLinkSettings struct {
	MemberIndex
	Link   LinkRef
	Change bond.SettingsChange
}

func (a SetLinkSettings) String() string { return fmt.Sprintf("set %s on %s", a.Change, a.Link) }

// SetUpper enslaves the bond to a link of the pod, as a VRF.
type SetUpper struct {
	MemberIndex
	Bond  LinkRef
	Upper bond.Upper
}

func (a SetUpper) String() string {
	return fmt.Sprintf("enslave %s to %s (%s)", a.Bond, a.Upper.Name, a.Upper.Kind)
}

// AddAddress adds an address to the bond. It succeeds if the bond already has it, but not with another prefix length
// (IPv6). With DAD an IPv6 address is used only after duplicate address detection.
type AddAddress struct {
	MemberIndex
	Bond   LinkRef
	Prefix netip.Prefix
	DAD    bool
}

func (a AddAddress) String() string { return fmt.Sprintf("add %s to %s", a.Prefix, a.Bond.Name) }

// DelAddress removes an address from the bond. It succeeds if the bond does not have it.
type DelAddress struct {
	MemberIndex
	Bond   LinkRef
	Prefix netip.Prefix
}

func (a DelAddress) String() string { return fmt.Sprintf("remove %s from %s", a.Prefix, a.Bond.Name) }

// AddRoute adds a route through the bond. It succeeds if the route exists, but not with other attributes (IPv6).
type AddRoute struct {
	MemberIndex
	Bond  LinkRef
	Route bond.Route
}

func (a AddRoute) String() string { return fmt.Sprintf("add route %s on %s", a.Route, a.Bond.Name) }

// DeleteRoute deletes a route through the bond. It succeeds if there is none.
type DeleteRoute struct {
	MemberIndex
	Bond  LinkRef
	Route bond.Route
}

func (a DeleteRoute) String() string {
	return fmt.Sprintf("delete route %s on %s", a.Route, a.Bond.Name)
}

// Announce announces the addresses to the neighbours (gratuitous ARP, unsolicited NA). It is best effort: a failure is
// only logged.
type Announce struct {
	MemberIndex
	Bond      LinkRef
	Addresses []netip.Addr
}

func (a Announce) String() string { return fmt.Sprintf("announce %v on %s", a.Addresses, a.Bond.Name) }
