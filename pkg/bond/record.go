package bond

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Phase is the phase of a record's life.
type Phase string

// The phases of a record.
const (
	// PhaseAdding: the plugin's ADD has not returned yet; addresses may be missing.
	PhaseAdding Phase = "adding"
	// PhaseReady: ADD returned. The bond is maintained as recorded.
	PhaseReady Phase = "ready"
	// PhaseDeleting is the tombstone: the desired state is absence, for ever.
	PhaseDeleting Phase = "deleting"
)

// Record is the store's entry for a pod bond: its desired state, the members' identities, and what to restore at the
// end. A loaded record belongs to its loader; no other code changes it.
type Record struct {
	Key     Key     `json:"key"`
	Phase   Phase   `json:"phase"`
	Network string  `json:"network"`
	Pod     Pod     `json:"pod"`
	Sandbox Sandbox `json:"sandbox"`
	Spec    Spec    `json:"spec"`
	// BondIndex is the bond's ifindex in the pod once it was created; 0 before that.
	// A bond that the pod has renamed is recognised by it.
	BondIndex int      `json:"bondIndex,omitempty"`
	Members   []Member `json:"members"`
	// Addresses and Routes are the result of IPAM; empty before its ADD.
	Addresses []Address `json:"addresses,omitempty"`
	Routes    []Route   `json:"routes,omitempty"`
	DNS       *DNS      `json:"dns,omitempty"`
	CNI       CNI       `json:"cni"`
	// Settled: since it was created or last lost a member, the bond was observed complete, with all members and its
	// recorded MAC. Before that, the planner restores the recorded MAC by changing the active member. After that, the
	// kernel chooses the active member.
	Settled bool      `json:"settled,omitempty"`
	Repairs RepairLog `json:"repairs,omitzero"`
	Setup   Setup     `json:"setup,omitzero"`
	// Learned is what other writers configured on the bond; nil before it was first observed.
	Learned *Learned `json:"learned,omitempty"`
	// Restoring: the bond was lost or down, and not everything on it is known to be back. Nothing is learned then.
	Restoring bool `json:"restoring,omitempty"`
	// AnnounceDue: addresses or the MAC were set on a bond without carrier. They are announced when it has one.
	AnnounceDue bool `json:"announceDue,omitempty"`
	// Contested are requested settings for which the value of another writer was adopted.
	Contested []Contest `json:"contested,omitempty"`
	// Fights are the repairs that the agent limits, because another writer keeps undoing them. They are recorded for
	// `agent status`, which is another process.
	Fights []string `json:"fights,omitempty"`
	// Lease is nil if the addresses are not leased, or the lease is maintained as far as is known.
	Lease *Lease `json:"lease,omitempty"`
	// Warnings are ADD's, about what is allowed but probably not intended, one sentence each.
	Warnings []string `json:"warnings,omitempty"`
	// Releases counts the attempts to take a tombstone's bond down.
	Releases int `json:"releases,omitempty"`
	// Returned: the bond of a tombstone is deleted and its members are returned. They may have other users now.
	Returned bool      `json:"returned,omitempty"`
	Created  time.Time `json:"created,omitzero"`
	Updated  time.Time `json:"updated,omitzero"`
}

// Pod is the bond's pod, from CNI_ARGS. All fields may be empty.
type Pod struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	UID       string `json:"uid,omitempty"`
}

// String returns "namespace/name"; "-" if they are not known.
func (p Pod) String() string {
	if p.Name == "" {
		return "-"
	}
	return p.Namespace + "/" + p.Name
}

// Sandbox is the pod's netns: its path, and its identity, which shows whether the path still leads to it. It is
// comparable.
type Sandbox struct {
	Path  string `json:"path"`
	Dev   uint64 `json:"dev"`
	Inode uint64 `json:"inode"`
	// Boot is the kernel's ID of the boot in which the netns was created, Cookie the netns's serial number in that
	// boot. Records of older versions have neither; then path, device and inode identify the netns.
	Boot   string `json:"boot,omitempty"`
	Cookie uint64 `json:"cookie,omitempty"`
}

// Spec is the desired state of the bond interface itself.
type Spec struct {
	// Name is the bond's name in the pod if it is not Key.IfName. Only records of older versions have it, whose ADD
	// used ifname of the network config; their bonds keep that name.
	Name    string  `json:"name,omitempty"`
	Options Options `json:"options"`
	// MTU in bytes; 0 if none was requested and none could be derived.
	MTU int `json:"mtu,omitempty"`
	// DerivedMTU: the MTU was not requested, so another writer's is learned and not reverted.
	DerivedMTU bool `json:"derivedMTU,omitempty"`
	// Enforce is empty for EnforceAll.
	Enforce Enforce `json:"enforce,omitempty"`
	// MAC is the address that ADD returned. With Options.MACFollowsActive it is also
	// the MAC of one member, which is the active one in a settled bond.
	MAC MAC `json:"mac,omitempty"`
	// NoDAD: ADD adds IPv6 addresses without duplicate address detection, as repairs do.
	NoDAD bool `json:"noDAD,omitempty"`
}

// Member is a link that belongs to the bond: its identity, and its settings before ADD.
type Member struct {
	// Name in the pod. It stays the same through every repair, so that the plugin that attached the link finds it on
	// its own DEL.
	Name string `json:"name"`
	// PCI identifies a VF. Empty for a virtual link, which is identified by the sandbox, by Index, Kind and PermMAC,
	// and proven by Serial. Records of older versions have neither Kind nor Serial.
	PCI PCIAddress `json:"pci,omitempty"`
	// Index is a virtual link's ifindex in the sandbox. A link from the host is moved there with this ifindex.
	Index int `json:"index,omitempty"`
	// HostIndex is the ifindex that a virtual link from the host had there. It means nothing in the sandbox.
	HostIndex int    `json:"hostIndex,omitempty"`
	Kind      string `json:"kind,omitempty"`
	// Serial is a number that the kernel assigns to one link per boot, and that stays the same in every netns; 0 if it
	// could not be read.
	Serial  uint64 `json:"serial,omitempty"`
	PermMAC MAC    `json:"permMAC,omitempty"`
	// MAC is the member's own, outside the bond.
	MAC MAC `json:"mac,omitempty"`
	// VF is a VF's PF and number, and what the PF applied to it; nil for other links.
	VF *VF `json:"vf,omitempty"`
	// Unidentified: the link was missing when the bond was created, and only its name was known. It is reported and
	// never attached.
	Unidentified bool `json:"unidentified,omitempty"`
	// MemberOptions are the requested ones.
	MemberOptions
	Original Original `json:"before"`
	// SriovCNI are sriov-cni's files about a VF that it attached to this pod; nil for other links.
	SriovCNI *SriovCNI `json:"sriovCNI,omitempty"`
	// Settings are what other writers set on the link; nil before it was first observed in the bond.
	Settings *LinkSettings `json:"settings,omitempty"`
	// SettingsOf is the ifindex of the link that had Settings; 0 in records of older versions.
	SettingsOf int `json:"settingsOf,omitempty"`
	// RDMA is the VF's RDMA device that was in the pod's netns and not in the host's: another writer moved it there.
	// Empty if there was none.
	RDMA string `json:"rdma,omitempty"`
	// Restoring: the member was lost, and its settings are not known to be back.
	Restoring bool `json:"restoring,omitempty"`
}

// Priority returns the member's priority; 0, the kernel's default, if none was requested.
func (m *Member) Priority() int32 {
	if m.Prio == nil {
		return 0
	}
	return *m.Prio
}

// String returns the member's name for messages: "net1 (0000:01:10.0)".
func (m *Member) String() string {
	if m.PCI == "" {
		return m.Name
	}
	return fmt.Sprintf("%s (%s)", m.Name, m.PCI)
}

// Original are a link's settings before ADD, which DEL restores.
type Original struct {
	Name string `json:"name"`
	MAC  MAC    `json:"mac,omitempty"`
	MTU  int    `json:"mtu,omitempty"`
	Up   bool   `json:"up,omitempty"`
	// Alias is the link's IFLA_IFALIAS. It is lost with the netdev and restored with every return, because host-device
	// needs it on its own DEL.
	Alias string `json:"alias,omitempty"`
	// FromHost: the link was taken from the host's netns and is returned there (linksInContainer false).
	FromHost bool `json:"inHost,omitempty"`
}

// VF is a virtual function's number on its PF and its settings there.
type VF struct {
	// PF is the physical function's PCI address; its netdev's name may change.
	PF     PCIAddress `json:"pf"`
	Number int        `json:"number"`
	// Settings are restored after the VF was reset. With Member.SriovCNI they are those that sriov-cni was asked for.
	Settings VFSettings `json:"settings"`
	// Observed is what the PF reported for the VF after the pod's set-up; nil before that. It is compared and never
	// written.
	Observed *VFSettings `json:"observed,omitempty"`
}

// VFSettings are what a PF applies to one of its VFs. Nil means not known or not requested.
type VFSettings struct {
	MAC       *MAC    `json:"mac,omitempty"`
	VLAN      *VLAN   `json:"vlan,omitempty"`
	Rate      *VFRate `json:"rate,omitempty"`
	SpoofChk  *bool   `json:"spoofchk,omitempty"`
	Trust     *bool   `json:"trust,omitempty"`
	LinkState *uint32 `json:"linkState,omitempty"` // 0 auto, LinkStateEnable, LinkStateDisable
}

// VFRate is a VF's transmit rate in Mbit/s; 0 for no limit.
type VFRate struct {
	Min uint32 `json:"min"`
	Max uint32 `json:"max"`
}

// VLAN is a PF-side VLAN setting; ID 0 for no VLAN.
type VLAN struct {
	ID int `json:"id"`
	// QoS is the priority, 0 to 7.
	QoS int `json:"qos,omitempty"`
	// Proto is the EtherType: 0x8100 (802.1Q) or 0x88a8 (802.1ad).
	Proto uint16 `json:"proto,omitempty"`
}

// Address is one address of the bond, with the gateway of the IPAM result.
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
	// Src is the preferred source address. OnLink: the gateway counts as reachable without a route to it. Both are
	// known for learned routes only: CNI has no such fields.
	Src    netip.Addr `json:"src,omitzero"`
	OnLink bool       `json:"onlink,omitempty"`
	// Proto is the route's origin (RTPROT_*); 0 for one that Bondkeeper adds, which then is boot.
	Proto int `json:"proto,omitempty"`
	// Shared: the observed route has further next hops, mostly through other links. It is restored without them.
	Shared bool `json:"shared,omitempty"`
	// Special: the observed route has an attribute that a record cannot describe: a source prefix, a TOS, an
	// encapsulation or a gateway of the other family. Such routes are counted only.
	Special bool `json:"-"`
}

// String returns the route in the form of ip-route(8).
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

// DNS is the IPAM result's part about name resolution; it is only passed on.
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
	// IPAMDone: the IPAM plugin has released the addresses; it must not be called again.
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
	// Open are the losses that are not repaired yet, by the member's name; the bond's own has the empty name.
	Open map[string]Loss `json:"open,omitempty"`
	Last *Repair         `json:"last,omitempty"`
	// Recent are the last MaxRecentRepairs repairs, the oldest first. Records of older versions have none.
	Recent []Repair `json:"recent,omitempty"`
}

// MaxRecentRepairs bounds RepairLog.Recent.
const MaxRecentRepairs = 8

// Add counts a repair.
func (l *RepairLog) Add(r Repair) {
	l.Count++
	l.Last = &r
	l.Recent = append(l.Recent[max(0, len(l.Recent)+1-MaxRecentRepairs):], r)
}

// Subject is the kind of link that a loss concerns.
type Subject string

// The subjects of losses.
const (
	SubjectBond   Subject = "bond"
	SubjectMember Subject = "member"
)

// Loss is something that was observed missing or changed.
type Loss struct {
	// ID is LossID's. A member that was lost with the bond has the bond's. Losses of older versions have none.
	ID    string    `json:"id,omitempty"`
	Cause string    `json:"cause"`
	Since time.Time `json:"since"`
}

// Repair is a successful repair.
type Repair struct {
	// ID is that of the loss.
	ID     string    `json:"id,omitempty"`
	Member string    `json:"member,omitempty"`
	Cause  string    `json:"cause"`
	At     time.Time `json:"at"`
	// Took is the time from the observed loss to the end of the repair, in milliseconds.
	Took int64 `json:"tookMs"`
}

// BondName returns the bond's name in the pod.
func (r *Record) BondName() string {
	if r.Spec.Name != "" {
		return r.Spec.Name
	}
	return r.Key.IfName
}

// Deleted reports whether the record is a tombstone.
func (r *Record) Deleted() bool { return r.Phase == PhaseDeleting }

// WithoutNetwork reports whether the record is that of an ADD that has requested neither addresses nor routes, at least
// not yet. What the bond has of them does not matter then: the pod's set-up begins later.
func (r *Record) WithoutNetwork() bool {
	return r.Phase == PhaseAdding && len(r.Addresses) == 0 && len(r.Routes) == 0
}

// SameAdd reports whether the same ADD wrote both records.
func (r *Record) SameAdd(other *Record) bool { return r.Created.Equal(other.Created) }

// MemberByPCI returns the index of the member with the PCI address pci; -1 if there is none.
func (r *Record) MemberByPCI(pci PCIAddress) int {
	return slices.IndexFunc(r.Members, func(m Member) bool { return pci != "" && m.PCI == pci })
}
