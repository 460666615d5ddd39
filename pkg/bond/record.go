package bond

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Phase says how far the life of a record has come.
type Phase string

// The phases of a record.
const (
	// PhaseAdding: the plugin's ADD has not returned yet; addresses may be missing.
	PhaseAdding Phase = "adding"
	// PhaseReady: ADD returned. The bond is kept as recorded.
	PhaseReady Phase = "ready"
	// PhaseDeleting is the tombstone: the wanted state is absence, for good.
	PhaseDeleting Phase = "deleting"
)

// Record is what the store keeps of a pod bond: the wanted state, the members'
// identities and what to give back at the end. A record that was loaded is the
// loader's own; nobody else changes it.
type Record struct {
	Key     Key     `json:"key"`
	Phase   Phase   `json:"phase"`
	Network string  `json:"network"`
	Pod     Pod     `json:"pod"`
	Sandbox Sandbox `json:"sandbox"`
	Spec    Spec    `json:"spec"`
	// BondIndex is the bond's ifindex in the pod once it was made; 0 before that.
	// A pod that renames its bond is found out by it.
	BondIndex int      `json:"bondIndex,omitempty"`
	Members   []Member `json:"members"`
	// Addresses and Routes are what IPAM gave; empty before it has spoken.
	Addresses []Address `json:"addresses,omitempty"`
	Routes    []Route   `json:"routes,omitempty"`
	DNS       *DNS      `json:"dns,omitempty"`
	CNI       CNI       `json:"cni"`
	// Settled is true once the bond was seen whole, with all members and its recorded
	// MAC, since it was made or last lost a member. While it is false the planner gives
	// the bond its recorded MAC back by changing the active member; after that the choice
	// of the active member is the kernel's.
	Settled bool      `json:"settled,omitempty"`
	Repairs RepairLog `json:"repairs,omitzero"`
	Setup   Setup     `json:"setup,omitzero"`
	// Learned is what other writers configured on the bond; nil before it was first observed.
	Learned *Learned `json:"learned,omitempty"`
	// Restoring: the bond was lost or down, and not everything on it is known to be back. Nothing is learned then.
	Restoring bool `json:"restoring,omitempty"`
	// Contested are requested settings that were given up to another writer.
	Contested []Contest `json:"contested,omitempty"`
	// Fights are the repairs that the agent limits, because another writer keeps undoing them. They are here for agent
	// status, which does not have the agent's memory.
	Fights []string `json:"fights,omitempty"`
	// Lease is nil while the addresses are no lease, or one that is maintained as far as is known.
	Lease *Lease `json:"lease,omitempty"`
	// Warnings are what ADD found allowed and probably not meant, one sentence each.
	Warnings []string `json:"warnings,omitempty"`
	// Releases counts the attempts to take a tombstone's bond down.
	Releases int `json:"releases,omitempty"`
	// Returned: the bond of a tombstone is gone and its members are given back. They may have other users now.
	Returned bool      `json:"returned,omitempty"`
	Created  time.Time `json:"created,omitzero"`
	Updated  time.Time `json:"updated,omitzero"`
}

// Pod is who the bond belongs to, as Multus says in CNI_ARGS. All fields may be empty.
type Pod struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	UID       string `json:"uid,omitempty"`
}

// String is "namespace/name"; "-" when the plugin was not told.
func (p Pod) String() string {
	if p.Name == "" {
		return "-"
	}
	return p.Namespace + "/" + p.Name
}

// Sandbox is the pod's netns: the path that leads to it and the identity that proves it. It
// is comparable.
type Sandbox struct {
	Path  string `json:"path"`
	Dev   uint64 `json:"dev"`
	Inode uint64 `json:"inode"`
	// Boot is the kernel's ID of the boot in which the netns was made, Cookie the netns's serial
	// number in it. Records of older versions have neither: path, device and inode must do then.
	Boot   string `json:"boot,omitempty"`
	Cookie uint64 `json:"cookie,omitempty"`
}

// Spec is what is wanted of the bond interface itself.
type Spec struct {
	// Name is the bond's name in the pod if it is not Key.IfName. Only records of older versions have it, whose ADD
	// obeyed ifname in the network config; their bonds keep that name.
	Name    string  `json:"name,omitempty"`
	Options Options `json:"options"`
	// MTU in bytes; 0 when nobody asked and none could be derived.
	MTU int `json:"mtu,omitempty"`
	// DerivedMTU: nobody asked for the MTU, so another writer's is learned and not reverted.
	DerivedMTU bool `json:"derivedMTU,omitempty"`
	// Enforce is empty for EnforceAll.
	Enforce Enforce `json:"enforce,omitempty"`
	// MAC is the address that ADD returned. With Options.MACFollowsActive it is also
	// the MAC of one member, which is the active one in a settled bond.
	MAC MAC `json:"mac,omitempty"`
	// NoDAD: ADD adds IPv6 addresses without duplicate address detection, as repairs do.
	NoDAD bool `json:"noDAD,omitempty"`
}

// Member is a link that belongs to the bond, by identity, and what it had before us.
type Member struct {
	// Name in the pod; kept through every repair so that the plugin which made the link
	// finds it on its own DEL.
	Name string `json:"name"`
	// PCI identifies a VF. Empty for a virtual link, which is identified by the sandbox, by Index, Kind and PermMAC, and
	// proven by Serial. Records of older versions have neither Kind nor Serial.
	PCI PCIAddress `json:"pci,omitempty"`
	// Index is a virtual link's ifindex in the sandbox. One that is taken from the host is moved there under it.
	Index int `json:"index,omitempty"`
	// HostIndex is the ifindex that a virtual link from the host had there. It means nothing in the sandbox.
	HostIndex int    `json:"hostIndex,omitempty"`
	Kind      string `json:"kind,omitempty"`
	// Serial is a number that the kernel gives to one link in a boot, and that the link keeps in every netns; 0 if it
	// could not be read.
	Serial  uint64 `json:"serial,omitempty"`
	PermMAC MAC    `json:"permMAC,omitempty"`
	// MAC is the member's own, which it has outside the bond.
	MAC MAC `json:"mac,omitempty"`
	// VF is where a VF stands and what its PF applied to it; nil for other links.
	VF *VF `json:"vf,omitempty"`
	// Unidentified: the link was not there when the bond was made, and nobody knew more of it
	// than its name. It is told of and never taken.
	Unidentified bool `json:"unidentified,omitempty"`
	// QueueID and Prio are the bonding driver's settings of this member
	// (IFLA_BOND_SLAVE_QUEUE_ID, _PRIO); nil if not requested.
	QueueID  *uint16  `json:"queueId,omitempty"`
	Prio     *int32   `json:"prio,omitempty"`
	Original Original `json:"before"`
	// SriovCNI are sriov-cni's files about a VF that it attached to this pod; nil for other links.
	SriovCNI *SriovCNI `json:"sriovCNI,omitempty"`
	// Settings are what other writers set on the link; nil before it was first observed in the bond.
	Settings *LinkSettings `json:"settings,omitempty"`
	// Restoring: the member was lost, and its settings are not known to be back.
	Restoring bool `json:"restoring,omitempty"`
}

// Priority is the member's priority; 0 where none was asked, as in the kernel.
func (m *Member) Priority() int32 {
	if m.Prio == nil {
		return 0
	}
	return *m.Prio
}

// String names the member in messages: "net1 (0000:01:10.0)".
func (m *Member) String() string {
	if m.PCI == "" {
		return m.Name
	}
	return fmt.Sprintf("%s (%s)", m.Name, m.PCI)
}

// Original is what DEL gives back.
type Original struct {
	Name string `json:"name"`
	MAC  MAC    `json:"mac,omitempty"`
	MTU  int    `json:"mtu,omitempty"`
	Up   bool   `json:"up,omitempty"`
	// Alias is the link's IFLA_IFALIAS. It is lost with the netdev and given back with every
	// return, because host-device needs it on its own DEL.
	Alias string `json:"alias,omitempty"`
	// FromHost: the link was taken from the host's netns and goes back there
	// (linksInContainer false).
	FromHost bool `json:"inHost,omitempty"`
}

// VF is a virtual function's place on its PF and the settings that the PF keeps for it.
type VF struct {
	// PF is the physical function's PCI address; its netdev's name may change.
	PF     PCIAddress `json:"pf"`
	Number int        `json:"number"`
	// Settings are those to put back when the VF was reset.
	Settings VFSettings `json:"settings"`
}

// VFSettings are what a PF applies to one of its VFs. Nil means: not known or not asked for.
type VFSettings struct {
	MAC       *MAC    `json:"mac,omitempty"`
	VLAN      *VLAN   `json:"vlan,omitempty"`
	Rate      *VFRate `json:"rate,omitempty"`
	SpoofChk  *bool   `json:"spoofchk,omitempty"`
	Trust     *bool   `json:"trust,omitempty"`
	LinkState *uint32 `json:"linkState,omitempty"` // IFLA_VF_LINK_STATE_*: 0 auto, 1 enable, 2 disable
}

// VFRate bounds what a VF sends, in Mbit/s; 0 is no bound.
type VFRate struct {
	Min uint32 `json:"min"`
	Max uint32 `json:"max"`
}

// VLAN is a PF-side VLAN setting; ID 0 is none.
type VLAN struct {
	ID int `json:"id"`
	// QoS is the priority, 0 to 7.
	QoS int `json:"qos,omitempty"`
	// Proto is the EtherType: 0x8100 (802.1Q) or 0x88a8 (802.1ad).
	Proto uint16 `json:"proto,omitempty"`
}

// Address is one address of the bond and the gateway that IPAM named with it.
type Address struct {
	Prefix  netip.Prefix `json:"prefix"`
	Gateway netip.Addr   `json:"gateway,omitzero"`
}

// Route is one route through the bond, with the fields of CNI 1.1.
type Route struct {
	Dst      netip.Prefix `json:"dst"`
	Gateway  netip.Addr   `json:"gateway,omitzero"`
	MTU      int          `json:"mtu,omitempty"`
	AdvMSS   int          `json:"advmss,omitempty"`
	Priority int          `json:"priority,omitempty"`
	// Table is nil for the main table.
	Table *int `json:"table,omitempty"`
	// Scope is nil for the kernel's choice: global with a gateway, link without.
	Scope *int `json:"scope,omitempty"`
	// Src is the preferred source address; OnLink takes the gateway to be reachable without a route to it. Both are
	// known for learned routes only: CNI has no such fields.
	Src    netip.Addr `json:"src,omitzero"`
	OnLink bool       `json:"onlink,omitempty"`
	// Proto is who made the route (RTPROT_*); 0 for one that Bondkeeper is to make, which then is boot.
	Proto int `json:"proto,omitempty"`
	// Shared: the observed route has further next hops, mostly through other links. It is restored without them.
	Shared bool `json:"shared,omitempty"`
}

// String is the route in the manner of ip-route(8).
func (r Route) String() string {
	s := r.Dst.String()
	if r.Gateway.IsValid() {
		s += " via " + r.Gateway.String()
	}
	if r.Table != nil {
		s += fmt.Sprintf(" table %d", *r.Table)
	}
	return s
}

// DNS is what IPAM said of name resolution; it is only passed on.
type DNS struct {
	Nameservers []string `json:"nameservers,omitempty"`
	Domain      string   `json:"domain,omitempty"`
	Search      []string `json:"search,omitempty"`
	Options     []string `json:"options,omitempty"`
}

// CNI is what a DEL by the agent needs to call the IPAM plugin as Multus would have.
type CNI struct {
	// Config is the network config as the plugin got it on standard input.
	Config json.RawMessage `json:"config,omitempty"`
	Args   string          `json:"args,omitempty"`
	// Path is CNI_PATH.
	Path string `json:"path,omitempty"`
	// IPAMDone: the IPAM plugin released what it gave; it must not be asked again.
	IPAMDone bool `json:"ipamDone,omitempty"`
	// IPAMError is why the last release by the IPAM plugin failed; the addresses remain allocated.
	IPAMError string `json:"ipamError,omitempty"`
	// IPAMAttempts counts the releases by the IPAM plugin that failed.
	IPAMAttempts int `json:"ipamAttempts,omitempty"`
	// IPAMRefused: the IPAM plugin's ADD returned an error, so nothing is known to be allocated.
	IPAMRefused bool `json:"ipamRefused,omitempty"`
}

// RepairLog counts repairs over the life of the bond.
type RepairLog struct {
	Count int `json:"count"`
	// Open are the losses not yet mended, by the member's name; the bond's own stands
	// under the empty name.
	Open map[string]Loss `json:"open,omitempty"`
	Last *Repair         `json:"last,omitempty"`
}

// Loss is what was seen missing.
type Loss struct {
	Cause string    `json:"cause"`
	Since time.Time `json:"since"`
}

// Repair is one that succeeded.
type Repair struct {
	Member string    `json:"member,omitempty"`
	Cause  string    `json:"cause"`
	At     time.Time `json:"at"`
	// Took is from when the loss was seen until the bond was whole, in milliseconds.
	Took int64 `json:"tookMs"`
}

// BondName is what the bond is called in the pod.
func (r *Record) BondName() string {
	if r.Spec.Name != "" {
		return r.Spec.Name
	}
	return r.Key.IfName
}

// Deleted reports whether the record is a tombstone.
func (r *Record) Deleted() bool { return r.Phase == PhaseDeleting }

// SameAdd reports whether the same ADD wrote both records.
func (r *Record) SameAdd(other *Record) bool { return r.Created.Equal(other.Created) }

// MemberByPCI is the index of the member that is the VF pci; -1 when none is.
func (r *Record) MemberByPCI(pci PCIAddress) int {
	return slices.IndexFunc(r.Members, func(m Member) bool { return pci != "" && m.PCI == pci })
}

// Clone is a deep copy.
func (r *Record) Clone() *Record {
	data, err := json.Marshal(r)
	if err != nil {
		panic("bond: a record that cannot be marshalled: " + err.Error()) // plain data only
	}
	c := new(Record)
	if err := json.Unmarshal(data, c); err != nil {
		panic("bond: a record that cannot be read back: " + err.Error())
	}
	return c
}
