package bond

import (
	"cmp"
	"net/netip"
	"strings"
)

// Location is the place of a member's netdev.
type Location string

// The values of Location.
const (
	Lost   Location = "lost"    // in neither the pod nor the host
	InPod  Location = "in pod"  // in the record's sandbox
	InHost Location = "in host" // in the host's netns
)

// Observed is the state of one record's bond in the kernel. It is a value: read once, never updated.
type Observed struct {
	// SandboxAlive: the record's path still leads to the record's netns (device and inode).
	// If false, nothing was read in the pod.
	SandboxAlive bool
	// Bond is nil if the pod has no such bond.
	Bond *ObservedBond
	// NameHolder is a link in the pod that has the bond's name and is not the bond; nil if there is no such link.
	NameHolder *Link
	// Members has one entry per member of the record, in the same order.
	Members []ObservedMember
	// UnknownMembers are members of the bond that are not in the record.
	UnknownMembers []Link
	// Upper is the link in the pod that the record's learned Upper names, whether or not the bond is enslaved to it;
	// nil if there is no such link.
	Upper *Link
}

// ReadsOnTop reports whether the links on top of the bond are read. They are in files of the netns, which take longer
// than the bond's own messages, so they have to wait for the end of ADD, and until no member is to be attached.
func (o *Observed) ReadsOnTop(r *Record) bool {
	return o.Bond != nil && r.Phase == PhaseReady && !o.toAttach()
}

// toAttach reports whether a member in the pod or the host is not enslaved.
func (o *Observed) toAttach() bool {
	for i := range o.Members {
		if l := o.Members[i].Location; l == InHost || l == InPod && !o.Enslaved(i) {
			return true
		}
	}
	return false
}

// LinksDiffer reports whether a link must be repaired before the bond is as recorded: the bond is missing or down, or a
// member in the pod or the host is not enslaved.
func (o *Observed) LinksDiffer() bool {
	return o.Bond == nil || !o.Bond.Up || o.toAttach()
}

// OnlyMembersDiffer reports whether the bond is up, has what it had before, and a member is to be attached to it again.
func (o *Observed) OnlyMembersDiffer(r *Record) bool {
	return o.Bond != nil && o.Bond.Up && o.Bond.Index == r.BondIndex && r.Phase == PhaseReady && !r.Restoring && o.toAttach()
}

// Enslaved reports whether member i is in the bond.
func (o *Observed) Enslaved(i int) bool {
	m := &o.Members[i]
	return m.Location == InPod && o.Bond != nil && m.Link.Master == o.Bond.Index
}

// Link is a netdev as the kernel describes it.
type Link struct {
	Index int
	Name  string
	// Kind is the kernel's link kind ("bond", "veth", …); empty for a device.
	Kind    string
	PCI     PCIAddress
	MAC     MAC
	PermMAC MAC
	MTU     int
	// Alias is IFLA_IFALIAS, a free text. host-device keeps the link's name in the host there.
	Alias string
	// Up is the administrative state (IFF_UP), Carrier the operational one (IFF_LOWER_UP).
	Up, Carrier bool
	// Serial is Member.Serial. It is read only for a link that may be a member whose record has one; otherwise 0.
	Serial uint64
	// Master is the ifindex of the link it is enslaved to; 0 for none.
	Master int
}

// ObservedBond is the bond interface in the pod.
type ObservedBond struct {
	Link
	// Options are all options that this kernel reports. An absent option is unknown or, for a link, not set.
	Options Options
	// Active is the ifindex of the active member; 0 for none.
	Active int
	// Aggregator is the active one in mode 802.3ad; nil if the driver has chosen none, and in other modes.
	Aggregator *Aggregator
	// HasMembers: any link has the bond as master, in the record or not.
	HasMembers bool
	// WasDown: events have shown the bond administratively down since the last reconcile, or events are missing and all
	// routes are. So routes and IPv6 addresses were lost with that, those of other writers too.
	WasDown bool
	// Addresses are all that the record names, and of the others at most MaxLearnedAddresses that can be learned and as
	// many that cannot. AddressesLeft is the number of the former that are not listed.
	Addresses     []netip.Prefix
	AddressesLeft int
	// Transient are those of Addresses that another program renews or withdraws: with a lifetime, from router
	// advertisements, or of a VRRP daemon.
	Transient []netip.Prefix
	// Tentative are those of Addresses on which duplicate address detection still runs, or waits for a carrier;
	// Duplicates those that failed it, which the kernel does not use.
	Tentative, Duplicates []netip.Prefix
	// Routes are those that the record names, those that the kernel made for listed addresses, and of the others at
	// most MaxLearnedRoutes that can be learned and as many that cannot. RoutesLeft is the number of the former that
	// are not listed.
	Routes     []Route
	RoutesLeft int
	// SpecialRoutes is the number of other writers' routes that a record cannot describe (Route.Special). They are not
	// in Routes.
	SpecialRoutes int
	// Unread is why addresses and routes are not known; empty if they are. ReadLater: they are read once the links,
	// which differ from the record, are repaired, or after a while.
	Unread    string
	ReadLater bool
	Settings  LinkSettings
	// Upper is the bond's master; nil if it has no master.
	Upper *Upper
	// OnTop are the names of the links on top of the bond (VLANs, macvlans), sorted; OnTopKnown is false if they were
	// not read.
	OnTop      []string
	OnTopKnown bool
}

// ObservedMember is one member of the record, found by its identity.
type ObservedMember struct {
	Location Location
	// Link is meaningful unless Location is Lost.
	Link Link
	// MIIUp: the bonding driver considers it up (IFLA_BOND_SLAVE_MII_STATUS). It follows the carrier by up to miimon,
	// or whether ARP and NS targets answer. Only a member that is up can be made the active one.
	MIIUp bool
	// Port is an enslaved link's port in mode 802.3ad; nil in other modes.
	Port *Port
	// MemberOptions are those of an enslaved link.
	MemberOptions
	// Settings are those of a link in the pod.
	Settings LinkSettings
	// RDMA are the RDMA devices of a VF in the pod; nil if they were not read.
	RDMA *RDMADevices
	// NameHolder is a link in the pod that has the member's name and is not the member; nil if there is no such link.
	NameHolder *Link
	// TempNameHolder is a link in the pod that has the member's TempName and is not the member. It is searched for only
	// while NameHolder is set.
	TempNameHolder *Link
	// PF is the state of the VF's PF. It is read only if it matters: for a VF in the host or without carrier. Nil
	// otherwise, or if there is no PF.
	PF *ObservedPF
	// Driver is the driver of a lost member's PCI function, or NoDriver or NoDevice; empty if that is not known.
	Driver string
	// PFSettings are the PF-side settings of a VF in the pod, if that has the bond; nil if they are not known. They may be
	// some seconds old.
	PFSettings *VFSettings
	// PFSettingsError is why the PF's answer does not have them, although it answers; empty otherwise.
	PFSettingsError string
	// ForeignClaim is the netns path that another plugin's claim on the VF names, if
	// that is an existing netns other than the record's; empty otherwise.
	ForeignClaim string
	// Ownership reports whether the VF's own plugin still assigns the VF to this pod.
	Ownership Ownership
	// OwnershipReason names the file that Released or Unreadable comes from.
	OwnershipReason string
	// SriovCNI are sriov-cni's files about a VF in the pod whose record has none yet: it was made by a version
	// that did not record them. Nil otherwise.
	SriovCNI *SriovCNI
	// Ambiguous names the links of the member's PCI function if it has several in one netns. It is not known which one
	// is the member, and Location is Lost.
	Ambiguous string
	// OtherRecord is the bond of another live record that names the same PCI function. The engine sets it if no file
	// shows which pod owns the VF.
	OtherRecord string
}

// RDMADevices are the names of a VF's RDMA devices that are visible in the pod's netns and in the host's. If the node's
// RDMA devices belong to one netns each (rdma system set netns exclusive), a device is in one of both. If they are
// shared, it is in both.
type RDMADevices struct{ InPod, InHost string }

// Used reports whether the bonding driver uses an enslaved member for traffic, or would if it became the active one.
func (m *ObservedMember) Used() bool { return m.MIIUp && (m.Port == nil || m.Port.Active) }

// Aggregator is a group of ports with the same LACP partner. A port without a partner has an aggregator of its own.
type Aggregator struct {
	ID int `json:"id"`
	// Ports is the number of ports that have joined it, active or not.
	Ports int `json:"ports"`
	// Partner is the MAC of the switch; zero if no partner has answered.
	Partner MAC `json:"partner"`
}

// Port is a member as the 802.3ad state machines describe it.
type Port struct {
	// Aggregator is the ID of the port's aggregator.
	Aggregator int
	// Active: the driver sends and receives through it (IFLA_BOND_SLAVE_STATE).
	Active bool
	// Partner is what the partner sent about its port, or what the driver assumes if none answered.
	Partner PortState
	// ActorChurn and PartnerChurn are empty if this kernel does not report them; Linux 7.2 and newer do.
	ActorChurn, PartnerChurn Churn
}

// Churn is whether one side of an LACP link fails to get in synchronization (churn detection, IEEE 802.1AX).
type Churn string

// The kernel's churn states (churn_state_t, net/bond_3ad.h).
const (
	ChurnMonitoring Churn = "monitoring" // for up to a minute after a change
	Churned         Churn = "churned"    // not in synchronization within that minute
	ChurnNone       Churn = "none"       // in synchronization
)

// PortState has the flags of a port in an LACP message (IEEE 802.1AX, 6.4.2.3).
type PortState uint8

// String lists the flags by their names in the standard; "none" if there is none.
func (s PortState) String() string {
	var set []string
	for i, name := range []string{"activity", "short timeout", "aggregation", "synchronization", "collecting", "distributing", "defaulted", "expired"} {
		if s&(1<<i) != 0 {
			set = append(set, name)
		}
	}
	return cmp.Or(strings.Join(set, ", "), "none")
}

// The values of ObservedMember.Driver that are no driver's name.
const (
	NoDriver = "no driver"
	NoDevice = "no device" // the node has no such PCI function
)

// ObservedPF is the physical function of a VF.
type ObservedPF struct {
	PCI     PCIAddress
	Name    string
	Index   int
	MTU     int
	Up      bool
	Carrier bool
	// VF are the PF-side settings as they are now; nil fields are unknown.
	VF VFSettings
}
