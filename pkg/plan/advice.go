package plan

import (
	"maps"
	"slices"
)

// Advice explains a code to an operator: what it means, and what to do.
type Advice struct{ Meaning, Action string }

// Advice returns the explanation of a code; empty if the code is not known.
func (c Code) Advice() Advice { return advice[c] }

// Codes returns all codes, sorted.
func Codes() []Code { return slices.Sorted(maps.Keys(advice)) }

// advice has an entry per code. docs/reference.md is generated from it.
var advice = map[Code]Advice{
	SandboxGone: {
		"The pod's netns is gone; nothing is repaired.",
		"Nothing: the kubelet removes or restarts the pod.",
	},
	BondMissing: {
		"The bond was deleted.",
		"Nothing: the agent recreates it. If this repeats, find the program in the pod that deletes it.",
	},
	NameTaken: {
		"Another link in the pod has the name of the bond or of a member.",
		"Rename or delete that link in the pod.",
	},
	OptionDrift: {
		"An option was changed that the kernel does not change on a live bond.",
		"Delete the bond in the pod (ip link del), so that the agent recreates it, or recreate the pod.",
	},
	MemberLost: {
		"The member is in neither the pod nor the host. For a VF the reason names the driver of its PCI function.",
		"Wait while the card is reset or its driver is replaced. Otherwise check the PF's driver and the kernel log.",
	},
	MemberInHost: {
		"The member is in the host's netns.",
		"Nothing: the agent moves it into the pod. If it stays, read the other findings and the agent's log.",
	},
	NotEnslaved: {
		"The member is in the pod but not in the bond.",
		"Nothing: the agent enslaves it. If it stays, delete links on top of it in the pod.",
	},
	Renamed: {
		"The bond or a member has another name.",
		"Nothing: the agent restores the name.",
	},
	Claimed: {
		"The VF belongs to another pod, is used by the host, or is in another bond's record.",
		"Find the user of the VF. A stale claim in /var/lib/cni/sriov/pci can be deleted.",
	},
	MACDiffers: {
		"The member has another MAC than recorded.",
		"Nothing: the agent restores the MAC. If it stays, set it on the PF (ip link set PF vf N mac).",
	},
	NoCarrier: {
		"The member has no carrier. If its PF has one, the member is set down and up once.",
		"Check the cable, the switch port and the PF.",
	},
	LinkDisabled: {
		"The PF has disabled the VF's link, as an administrator or an operator does when the switch port is dead.",
		"If it is not intended, enable it on the PF (ip link set PF vf N state auto). The agent changes nothing.",
	},
	NotUsed: {
		"The member has carrier, but the bonding driver does not use it: by its MII, ARP or NS monitor, or by LACP.",
		"Check the monitor's targets, the VLAN, and the switch port and its LACP settings. The agent changes nothing.",
	},
	Aggregation: {
		"In mode 802.3ad no LACP partner responds, or fewer ports than `minLinks` are usable.",
		"Check the LACP settings of the switch ports. The agent changes nothing.",
	},
	LinkDown: {
		"The bond or a member was set down.",
		"Nothing: the agent sets it up. If this repeats, find the program in the pod that sets it down.",
	},
	UnknownMember: {
		"A link in the bond is not in the record. It is left alone.",
		"Remove the link from the bond if it should not be there.",
	},
	DuplicateAddress: {
		"Another host uses an IPv6 address of the bond, so the kernel does not use it.",
		"Release the address on the other host, then recreate the pod.",
	},
	NotProven: {
		"No link is proven to be the virtual link from the host that DEL should return.",
		"Return or delete the link by hand if it still exists.",
	},
	MACAway: {
		"The bond has another member's MAC until the owner of the recorded MAC carries traffic again.",
		"Nothing: it ends when the owner of the MAC carries traffic again.",
	},
	NotActive: {
		"Another member than `activeSlave` is active, and the bond has not settled yet.",
		"Nothing: the agent or the kernel selects the member.",
	},
	MTUDiffers: {
		"The bond or a member has another MTU than recorded.",
		"Nothing: the agent restores the MTU. If it stays, raise the MTU of the PF.",
	},
	Released: {
		"sriov-cni has returned the VF to its owner. It is left alone.",
		"Usually the pod is being deleted. Otherwise recreate it.",
	},
	Ambiguous: {
		"The member's PCI function has several links.",
		"Recreate the pod with links that have a PCI function of their own.",
	},
	OwnerUnreadable: {
		"A file that shows whether the VF still belongs to the pod cannot be read. A lost VF is not attached again.",
		"Give the agent CAP_DAC_READ_SEARCH, or make the file readable for root.",
	},
	Unidentified: {
		"The link was missing at ADD and it is unknown which VF it is. It is never attached.",
		"Recreate the pod when the link is present.",
	},
	LinksMissing: {
		"Links on top of the bond, such as VLANs and macvlans, were deleted with the bond. The record has their names only.",
		"Have their creator recreate them in the pod, or recreate the pod.",
	},
	RDMAInHost: {
		"The VF's RDMA device, which was in the pod, is in the host since the VF returned. RDMA traffic is lost.",
		"Move it into the pod's netns (rdma dev set NAME netns NETNS), or recreate the pod.",
	},
	PFSettingsChanged: {
		"The PF has other settings for the VF than sriov-cni was asked for.",
		"Nothing: the agent restores them. If this repeats, find the program on the node that changes them.",
	},
	PFDrift: {
		"The PF has another VLAN or MAC for the VF than before, so traffic is lost. It is left alone, because sriov-cni was not asked for it.",
		"Set it back on the PF (ip link set PF vf N ...). If the change is intended, recreate the pod.",
	},
	SettingsChanged: {
		"The bond's MAC, options, addresses or routes, or a member's options, are not as recorded.",
		"Nothing: the agent restores them. If this repeats, find the program in the pod that changes them.",
	},
	NotRestored: {
		"Configuration of another writer was lost with the bond or a member and is not restored yet.",
		"Read the error. Recreate the VRF or bridge in the pod, or recreate the pod.",
	},
	NotRecorded: {
		"Configuration of another writer was lost that the record does not hold.",
		"Have the other writers add their configuration again, or recreate the pod.",
	},
	Unread: {
		"The bond's addresses and routes are not known.",
		"Find the program in the pod that changes addresses or routes all the time.",
	},
	LeaseUnconfirmed: {
		"The bond gets its addresses when the DHCP daemon has confirmed their lease.",
		"Check that the DHCP daemon of the CNI plugins runs on the node.",
	},
	LeaseLost: {
		"The lease could not be acquired again; the bond has no address.",
		"Repair the DHCP server, or recreate the pod.",
	},
}
