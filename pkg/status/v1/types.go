package v1

import "time"

const (
	// Annotation is the name of the annotation; its value is a JSON list of Bond.
	Annotation = "bondkeeper.io/bonds"
	// Condition is the type of the pod condition. It is True while every bond of the pod
	// carries traffic, and may be used as a readiness gate.
	Condition = "bondkeeper.io/BondsReady"
	// EventSource is the source of the agent's events (source.component and reportingComponent).
	EventSource = "bondkeeper"
	// Version is in every entry.
	Version = "v1"
	// MaxSize bounds the annotation's value, in bytes.
	MaxSize = 32 << 10
)

// State is how a bond is, in one word.
type State string

// The states of a bond.
const (
	// Ready: everything is as recorded, the bond has carrier, and the bonding driver uses every member.
	Ready State = "Ready"
	// Degraded: it carries traffic, but not everything is as recorded, for example on fewer members.
	Degraded State = "Degraded"
	// Down: it carries no traffic.
	Down State = "Down"
	// Repairing: a repair is under way.
	Repairing State = "Repairing"
	// Stuck: manual action is needed; Reason names it.
	Stuck State = "Stuck"
)

// States are all states, from the best to the worst.
func States() []State { return []State{Ready, Repairing, Degraded, Stuck, Down} }

// Bond is one entry of the list. Entries are sorted by interface. Texts hold printable
// characters only; one that was too long ends in "…".
type Bond struct {
	Version    string      `json:"version" jsonschema:"format of this entry"`
	Interface  string      `json:"interface,omitempty" jsonschema:"name of the bond in the pod; missing only in an entry that stands for omitted bonds"`
	Network    string      `json:"network,omitempty" jsonschema:"name of the network configuration"`
	State      State       `json:"state" jsonschema:"Ready: as recorded, and the bonding driver uses every member. Degraded: carries traffic, but not everything is as recorded. Down: carries no traffic. Repairing: a repair is under way. Stuck: manual action is needed. For omitted bonds: the worst of their states"`
	Reason     string      `json:"reason,omitempty" jsonschema:"what is wrong, where, and what to do; missing if nothing is wrong"`
	Mode       string      `json:"mode,omitempty" jsonschema:"bonding mode, as the kernel names it"`
	MAC        string      `json:"mac,omitempty" jsonschema:"the bond's MAC address"`
	MTU        int         `json:"mtu,omitempty" jsonschema:"in bytes"`
	Active     string      `json:"active,omitempty" jsonschema:"the active member, in the modes that have one"`
	Aggregator *Aggregator `json:"aggregator,omitempty" jsonschema:"the active aggregator, in mode 802.3ad"`
	Members    []Member    `json:"members,omitempty" jsonschema:"the links that belong to the bond, in the order of the configuration"`
	Warnings   []string    `json:"warnings,omitempty" jsonschema:"settings that ADD accepted but that are probably not intended, and what other writers changed"`
	Repairs    int         `json:"repairs" jsonschema:"repairs over the life of the bond"`
	LastRepair Repair      `json:"lastRepair,omitzero" jsonschema:"the last repair that succeeded"`
	Omitted    Omissions   `json:"omitted,omitzero" jsonschema:"what was omitted to limit the annotation's size"`
}

// Aggregator is a group of ports with one LACP partner.
type Aggregator struct {
	ID      int    `json:"id" jsonschema:"its number in the bond"`
	Ports   int    `json:"ports" jsonschema:"ports that have joined it"`
	Partner string `json:"partner" jsonschema:"the switch's MAC address; 00:00:00:00:00:00 if no partner has answered"`
}

// Member is one link of a bond.
type Member struct {
	Name   string    `json:"name" jsonschema:"name of the link in the pod"`
	PCI    string    `json:"pci,omitempty" jsonschema:"PCI address of the virtual function"`
	PF     string    `json:"pf,omitempty" jsonschema:"PCI address of its physical function"`
	VF     *int      `json:"vf,omitempty" jsonschema:"number of the VF on its physical function; present if pf is"`
	State  string    `json:"state" jsonschema:"active, backup, up, no carrier, not used, down, not enslaved, in host, lost, released, pf drift or unidentified; the first three carry traffic"`
	Reason string    `json:"reason,omitempty" jsonschema:"what is wrong with this member"`
	Since  time.Time `json:"since,omitzero" jsonschema:"when its loss was first detected; missing while nothing is lost"`
}

// Carries reports whether a member in this state can carry traffic.
func (m *Member) Carries() bool { return m.State == "active" || m.State == "backup" || m.State == "up" }

// Repair is one that succeeded.
type Repair struct {
	Member string    `json:"member,omitempty" jsonschema:"the repaired member; missing for the bond itself"`
	Cause  string    `json:"cause" jsonschema:"cause of the loss, in one word"`
	At     time.Time `json:"at" jsonschema:"when it was done"`
	TookMs int64     `json:"tookMs" jsonschema:"milliseconds from the detection of the loss to the end of the repair"`
}

// Omissions counts what was left out of an entry. Bonds is set in the last entry of a list
// only, and such an entry stands for nothing else.
type Omissions struct {
	Bonds    int `json:"bonds,omitempty" jsonschema:"bonds that this entry stands for"`
	Members  int `json:"members,omitempty" jsonschema:"members of this bond that are not listed"`
	Warnings int `json:"warnings,omitempty" jsonschema:"warnings of this bond that are not listed"`
}
