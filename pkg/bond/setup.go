package bond

import (
	"net/netip"
	"time"
)

// Enforce is what is enforced once the pod's set-up is complete.
type Enforce string

// The values of Enforce. Structure (the bond, its members, options, names and admin state) is enforced always.
const (
	// EnforceAll also enforces the MTU, MAC, addresses and routes that were requested and that set-up kept.
	EnforceAll Enforce = "all"
	// EnforceLinks enforces structure only; what other writers change is learned and kept through losses.
	EnforceLinks Enforce = "links"
)

// Setup is how far the set-up of the pod's network has come. Until it is complete, what other writers (chained
// plugins, Multus, the pod's owner) change on the bond is learned and not reverted.
type Setup struct {
	// Returned is when ADD returned. Zero in records of older versions, whose set-up counts as complete.
	Returned time.Time `json:"returned,omitzero"`
	// Changed is when a change by another writer was last learned.
	Changed time.Time `json:"changed,omitzero"`
	// Complete is when set-up was found to be complete, by Evidence.
	Complete time.Time `json:"complete,omitzero"`
	Evidence string    `json:"evidence,omitempty"`
}

// The evidence that set-up is complete.
const (
	// EvidenceNetworkStatus: Multus has written the pod's network status, which it does at the end of ADD.
	EvidenceNetworkStatus = "network status"
	// EvidenceContainer: the runtime has a container in the sandbox; the kubelet creates the first one after ADD.
	EvidenceContainer = "container"
	// EvidenceQuiet: neither can be known, and nothing changed for a while.
	EvidenceQuiet = "quiet"
	// EvidenceTimeout: neither can be known, and enough time has passed.
	EvidenceTimeout = "timeout"
)

// InSetup reports whether ADD has returned and other writers may still be setting up the pod.
func (r *Record) InSetup() bool {
	return r.Phase == PhaseReady && !r.Setup.Returned.IsZero() && r.Setup.Complete.IsZero()
}

// LearnsRequested reports whether a requested value that another writer changes is learned instead of restored.
func (r *Record) LearnsRequested() bool { return r.InSetup() || r.Spec.Enforce == EnforceLinks }

// Learned is what other writers configured on the bond, beyond what config, runtime and IPAM requested. It is restored
// after every loss.
type Learned struct {
	Settings  LinkSettings   `json:"settings"`
	Addresses []netip.Prefix `json:"addresses,omitempty"`
	// AddressesLeft is the number of addresses beyond MaxLearnedAddresses, which are not recorded.
	AddressesLeft int     `json:"addressesLeft,omitempty"`
	Routes        []Route `json:"routes,omitempty"`
	// RoutesLeft is the number of routes if there are more than MaxLearnedRoutes; then no route is recorded.
	RoutesLeft int `json:"routesLeft,omitempty"`
	// SpecialRoutes is the number of routes that a record cannot describe (Route.Special).
	SpecialRoutes int `json:"specialRoutes,omitempty"`
	// Lost is what other writers had on the bond before it was lost and the record does not have, as far as it is still
	// missing; nil if nothing is.
	Lost *Unrecorded `json:"lost,omitempty"`
	// NoPrefixRoute are those addresses of the bond whose route the kernel had made and another writer deleted: sbr
	// moves it to a table of its own.
	NoPrefixRoute []netip.Prefix `json:"noPrefixRoute,omitempty"`
	// Upper is the bond's own master, e.g. a VRF; nil if it has none.
	Upper *Upper `json:"upper,omitempty"`
	// OnTop are the links on top of the bond. The kernel deletes them with the bond, and only their creators can recreate
	// them. OnTopOf is the ifindex of the bond that had them; 0 if there were none.
	OnTop   []string `json:"onTop,omitempty"`
	OnTopOf int      `json:"onTopOf,omitempty"`
}

// Unrecorded are numbers of addresses and routes that a record does not have: those beyond the bounds, and routes that it
// cannot describe.
type Unrecorded struct {
	Addresses     int `json:"addresses,omitempty"`
	Routes        int `json:"routes,omitempty"`
	SpecialRoutes int `json:"specialRoutes,omitempty"`
}

// MaxLearnedRoutes bounds the routes of other writers in a record; MaxLearnedAddresses bounds the addresses.
const (
	MaxLearnedRoutes    = 256
	MaxLearnedAddresses = 64
)

// Upper is a link that the bond is enslaved to.
type Upper struct {
	Index int    `json:"index"`
	Name  string `json:"name"`
	Kind  string `json:"kind"`
	// Table is the routing table of a VRF; 0 for other kinds.
	Table int `json:"table,omitempty"`
	// BondIndex is the ifindex of the bond that was learned to be enslaved; 0 in an observation.
	BondIndex int `json:"bondIndex,omitempty"`
}

// Contest is a requested setting that another writer changed back again and again, until its value was adopted.
type Contest struct {
	// Setting names it: "MTU", "route 0.0.0.0/0 via 10.56.217.1".
	Setting string `json:"setting"`
	// Adopted is the value that was accepted; empty for "absent".
	Adopted string    `json:"adopted,omitempty"`
	At      time.Time `json:"at"`
}

// String returns a sentence for warnings.
func (c Contest) String() string {
	with := "it stays absent"
	if c.Adopted != "" {
		with = "its value " + c.Adopted + " was adopted"
	}
	return "another writer changed " + c.Setting + " back three times within a minute; " + with
}
