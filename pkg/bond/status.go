package bond

import "time"

// State is the state of a pod bond, in one word.
type State string

// The states of a pod bond.
const (
	// StateReady: everything is as recorded, the bond has carrier, and the bonding driver uses every member.
	StateReady State = "Ready"
	// StateDegraded: it carries traffic on fewer members than recorded.
	StateDegraded State = "Degraded"
	// StateDown: no member carries traffic, or the bond has no carrier.
	StateDown State = "Down"
	// StateRepairing: a repair is in progress.
	StateRepairing State = "Repairing"
	// StateStuck: manual action is needed; Reason describes it.
	StateStuck State = "Stuck"
	// StateDeleting: a tombstone; the bond is being taken down.
	StateDeleting State = "Deleting"
)

// States returns all states, from the best to the worst, and then that of a tombstone.
func States() []State {
	return []State{StateReady, StateRepairing, StateDegraded, StateStuck, StateDown, StateDeleting}
}

// Status is the reported state of one pod bond.
type Status struct {
	Key     Key    `json:"key"`
	Pod     Pod    `json:"pod"`
	Network string `json:"network"`
	State   State  `json:"state"`
	// Reason describes what is wrong, where, and what to do; empty if Ready.
	Reason string `json:"reason,omitempty"`
	// Unreleased is why addresses of a bond that is Deleting remain allocated; empty if no release has failed.
	Unreleased string         `json:"unreleased,omitempty"`
	Mode       string         `json:"mode"`
	MAC        MAC            `json:"mac,omitempty"`
	MTU        int            `json:"mtu,omitempty"`
	Active     string         `json:"active,omitempty"`
	Members    []MemberStatus `json:"members"`
	// NoCarrier: there is no bond, or the driver has set its carrier off, whatever its members have.
	NoCarrier bool `json:"noCarrier,omitempty"`
	// Aggregator is the active one in mode 802.3ad.
	Aggregator *Aggregator `json:"aggregator,omitempty"`
	// Warnings are those of ADD, for as long as the bond exists, and those of the last reconcile.
	Warnings []string `json:"warnings,omitempty"`
	// Fighting is the number of kinds of repairs that another writer keeps undoing. Contested is the number of
	// requested settings for which the value of another writer was adopted.
	Fighting  int `json:"fighting,omitempty"`
	Contested int `json:"contested,omitempty"`
	// Since is when the first loss that is not repaired yet was detected; zero if nothing is lost.
	Since time.Time `json:"since,omitzero"`
	// Losses are the IDs of the losses that the state follows from: those that are open, and those that were opened or
	// closed by the last reconcile.
	Losses  []string `json:"losses,omitempty"`
	Repairs int      `json:"repairs"`
	Last    *Repair  `json:"lastRepair,omitempty"`
}

// MemberStatus is the reported state of one member.
type MemberStatus struct {
	Name string     `json:"name"`
	PCI  PCIAddress `json:"pci,omitempty"`
	PF   PCIAddress `json:"pf,omitempty"`
	// VF is the VF's number on its PF; meaningful where PF is set.
	VF     int         `json:"vf"`
	State  MemberState `json:"state"`
	Reason string      `json:"reason,omitempty"`
	// Since is when the loss was first observed; zero while nothing is lost.
	Since time.Time `json:"since,omitzero"`
}

// MemberState is the state of one member. Its values are part of the format of the pod's annotation.
type MemberState string

// The states of a member. The first three carry traffic.
const (
	MemberActive       MemberState = "active"       // the active member, in mode active-backup
	MemberBackup       MemberState = "backup"       // ready to take over, in mode active-backup
	MemberUp           MemberState = "up"           // in use, in the other modes
	MemberNoCarrier    MemberState = "no carrier"   // up, without carrier
	MemberNotUsed      MemberState = "not used"     // with carrier, but the bonding driver does not use it
	MemberDown         MemberState = "down"         // administratively down
	MemberNotEnslaved  MemberState = "not enslaved" // in the pod, not in the bond
	MemberInHost       MemberState = "in host"      // in the host's netns
	MemberLost         MemberState = "lost"         // in neither the pod nor the host
	MemberReleased     MemberState = "released"     // returned to its owner by its own plugin
	MemberPFDrift      MemberState = "pf drift"     // its PF has another VLAN or MAC for it, so the pod's traffic is lost
	MemberUnidentified MemberState = "unidentified" // only the name is known, which is not an identity
)

// MemberStates returns all states.
func MemberStates() []MemberState {
	return []MemberState{
		MemberActive, MemberBackup, MemberUp, MemberNoCarrier, MemberNotUsed, MemberDown, MemberNotEnslaved, MemberInHost,
		MemberLost, MemberReleased, MemberPFDrift, MemberUnidentified,
	}
}

// Carries reports whether a member in this state can carry traffic.
func (s MemberState) Carries() bool {
	return s == MemberActive || s == MemberBackup || s == MemberUp
}
