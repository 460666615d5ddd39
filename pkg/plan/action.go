package plan

import (
	"fmt"
	"net/netip"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// Action is one change of the kernel. It is applied to just the link that it names, or not at all.
type Action interface {
	fmt.Stringer
	// On is the index of the record's member that the action is about, or OnBond.
	On() int
}

// Ref names a link so that it cannot be mistaken for another: where it is, its ifindex
// there, and its identity. What applies an action checks all of them first and answers
// bond.ErrStale when they no longer belong together.
type Ref struct {
	Place bond.Place
	Index int
	// PCI is empty for a virtual link, which must then have PermMAC and Serial (those that are set).
	PCI     bond.PCIAddress
	PermMAC bond.MAC
	// Serial is bond.Link.Serial. A virtual link is moved to another netns only with it.
	Serial uint64
	// Name is for messages; it identifies nothing.
	Name string
}

// String names the link for people: "net1 (0000:01:10.0, ifindex 4, in pod)".
func (r Ref) String() string {
	if r.PCI == "" {
		return fmt.Sprintf("%s (ifindex %d, %s)", r.Name, r.Index, r.Place)
	}
	return fmt.Sprintf("%s (%s, ifindex %d, %s)", r.Name, r.PCI, r.Index, r.Place)
}

// RefOf names an observed link.
func RefOf(place bond.Place, l *bond.Link) Ref {
	return Ref{Place: place, Index: l.Index, PCI: l.PCI, PermMAC: l.PermMAC, Serial: l.Serial, Name: l.Name}
}

// Member is embedded in every action: the index in the record of the member that the
// action is about, or OnBond.
type Member int

// On implements Action.
func (m Member) On() int { return int(m) }

// CreateBond makes the bond in the pod, down and without members, with Options, MAC
// and MTU (MAC "" and MTU 0: the kernel's choice). A link of that name must not exist.
type CreateBond struct {
	Member
	Name    string
	Options bond.Options
	MAC     bond.MAC
	MTU     int
}

// ModeOnly makes the same bond without the options that can be set later, before it has members. The mode cannot.
func (a CreateBond) ModeOnly() CreateBond {
	mode := bond.Options{}
	if m, ok := a.Options[bond.OptMode]; ok {
		mode[bond.OptMode] = m
	}
	a.Options = mode
	return a
}

func (a CreateBond) String() string { return fmt.Sprintf("create bond %s: %s", a.Name, a.Options) }

// SetOptions sets options of the bond, in the order of bond.Defs.
type SetOptions struct {
	Member
	Bond    Ref
	Options bond.Options
}

func (a SetOptions) String() string { return fmt.Sprintf("set %s on %s", a.Options, a.Bond) }

// DeleteBond deletes the bond; the kernel releases what members it has.
type DeleteBond struct {
	Member
	Bond Ref
}

func (a DeleteBond) String() string { return "delete bond " + a.Bond.String() }

// Rename gives a link another name, where it is.
type Rename struct {
	Member
	Link Ref
	To   string
}

func (a Rename) String() string { return fmt.Sprintf("rename %s to %s", a.Link, a.To) }

// SetMAC sets a link's address. A bond's active member keeps its own, because the bond has the same: bond.ErrStale.
type SetMAC struct {
	Member
	Link Ref
	MAC  bond.MAC
}

func (a SetMAC) String() string { return fmt.Sprintf("set MAC %s on %s", a.MAC, a.Link) }

// SetMTU sets a link's MTU.
type SetMTU struct {
	Member
	Link Ref
	MTU  int
}

func (a SetMTU) String() string { return fmt.Sprintf("set MTU %d on %s", a.MTU, a.Link) }

// SetUp sets a link administratively up.
type SetUp struct {
	Member
	Link Ref
}

func (a SetUp) String() string { return "set up " + a.Link.String() }

// SetDown sets a link administratively down.
type SetDown struct {
	Member
	Link Ref
}

func (a SetDown) String() string { return "set down " + a.Link.String() }

// Bounce sets a member down and up again.
type Bounce struct {
	Member
	Link Ref
}

func (a Bounce) String() string { return "bounce " + a.Link.String() }

// Enslave makes a link, which is down, a member of the bond. Both are in the pod.
type Enslave struct {
	Member
	Link Ref
	Bond Ref
}

func (a Enslave) String() string { return fmt.Sprintf("enslave %s to %s", a.Link, a.Bond.Name) }

// Release takes a link out of whatever master it has.
type Release struct {
	Member
	Link Ref
}

func (a Release) String() string { return "release " + a.Link.String() }

// TuneMember sets the bonding driver's settings of a member; nil ones are left alone.
type TuneMember struct {
	Member
	Link    Ref
	Bond    Ref
	QueueID *uint16
	Prio    *int32
}

func (a TuneMember) String() string {
	s := "set"
	if a.QueueID != nil {
		s += fmt.Sprintf(" queueId %d", *a.QueueID)
	}
	if a.Prio != nil {
		s += fmt.Sprintf(" prio %d", *a.Prio)
	}
	return s + " of " + a.Link.String()
}

// SetActive makes a member the active one.
type SetActive struct {
	Member
	Link Ref
	Bond Ref
}

func (a SetActive) String() string { return fmt.Sprintf("make %s the active member", a.Link) }

// RestoreVF puts settings of a VF back on its PF. Nil fields of Settings are not touched.
type RestoreVF struct {
	Member
	PCI      bond.PCIAddress
	VF       bond.VF
	Settings bond.VFSettings
}

func (a RestoreVF) String() string {
	return fmt.Sprintf("put back the settings of VF %d (%s) on PF %s: %s", a.VF.Number, a.PCI, a.VF.PF, a.Settings)
}

// MoveToPod moves a link from the host's netns into the pod's, with its MAC, MTU, alias ("",
// 0 and "": as it is) and name there, a virtual link under the ifindex Index.
type MoveToPod struct {
	Member
	Link  Ref
	Name  string
	MAC   bond.MAC
	MTU   int
	Alias string
	Index int
}

func (a MoveToPod) String() string { return fmt.Sprintf("move %s into the pod as %s", a.Link, a.Name) }

// MoveToHost moves a link from the pod's netns to the host's, under Name, and a virtual link under the ifindex Index. Where
// the host has a link of that name or ifindex already, the executor lets the kernel choose one.
type MoveToHost struct {
	Member
	Link  Ref
	Name  string
	Index int
}

func (a MoveToHost) String() string { return fmt.Sprintf("move %s to the host as %s", a.Link, a.Name) }

// SetLinkSettings sets queue length, flags and sysctls of a link.
type SetLinkSettings struct {
	Member
	Link   Ref
	Change bond.SettingsChange
}

func (a SetLinkSettings) String() string { return fmt.Sprintf("set %s on %s", a.Change, a.Link) }

// SetUpper enslaves the bond to a link of the pod, as a VRF.
type SetUpper struct {
	Member
	Bond  Ref
	Upper bond.Upper
}

func (a SetUpper) String() string {
	return fmt.Sprintf("enslave %s to %s (%s)", a.Bond, a.Upper.Name, a.Upper.Kind)
}

// AddAddress adds an address to the bond; to have it already is success, to have it with another prefix length is not
// (IPv6). With DAD an IPv6 address is used after duplicate
// address detection only.
type AddAddress struct {
	Member
	Bond   Ref
	Prefix netip.Prefix
	DAD    bool
}

func (a AddAddress) String() string { return fmt.Sprintf("add %s to %s", a.Prefix, a.Bond.Name) }

// DelAddress removes an address from the bond; if the bond does not have it, that is success.
type DelAddress struct {
	Member
	Bond   Ref
	Prefix netip.Prefix
}

func (a DelAddress) String() string { return fmt.Sprintf("remove %s from %s", a.Prefix, a.Bond.Name) }

// AddRoute adds a route through the bond; to have it already is success, to have it with other attributes is not (IPv6).
type AddRoute struct {
	Member
	Bond  Ref
	Route bond.Route
}

func (a AddRoute) String() string { return fmt.Sprintf("add route %s on %s", a.Route, a.Bond.Name) }

// DeleteRoute deletes a route through the bond; to find none is success.
type DeleteRoute struct {
	Member
	Bond  Ref
	Route bond.Route
}

func (a DeleteRoute) String() string {
	return fmt.Sprintf("delete route %s on %s", a.Route, a.Bond.Name)
}

// Announce tells the neighbours where the addresses are (gratuitous ARP, unsolicited
// NA). It is a courtesy: a failure is logged and nothing else.
type Announce struct {
	Member
	Bond      Ref
	Addresses []netip.Addr
}

func (a Announce) String() string { return fmt.Sprintf("announce %v on %s", a.Addresses, a.Bond.Name) }
