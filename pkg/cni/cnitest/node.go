package cnitest

import (
	"net/netip"

	"github.com/containernetworking/cni/pkg/skel"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
)

// Kernel is the kernel of a node, with changes of links by its administrator and its pods. Links are named by the path
// of their netns (linktest.Host for the host's) and their name there, VFs by PCI address.
type Kernel interface {
	reconcile.Kernel
	AddPod(path string) bond.Sandbox
	DeletePod(path string) error
	Link(path, name string) (bond.Link, bool)
	// AddVirtual makes a veth with a peer that is up, AddTwin one with an ifindex of choice.
	AddVirtual(path, name string) (bond.Link, error)
	AddTwin(path, name string, index int) error
	// AddImpostor makes a dummy.
	AddImpostor(path, name string) (bond.Link, error)
	AddBond(path, name string) error
	DeleteLink(path, name string) error
	MoveToHost(path, name string) error
	MoveToNetns(path, name, toPath, to string) error
	Rename(path, name, to string) error
	SetUp(path, name string) error
	SetDown(path, name string) error
	SetMAC(path, name string, mac bond.MAC) error
	SetMTU(path, name string, mtu int) error
	Enslave(path, name, bondName string) error
	Release(path, name string) error
	DeleteBond(path, name string) error
	FlushAddresses(path, name string) error
	UnbindVF(pci bond.PCIAddress) error
	BindVF(pci bond.PCIAddress) error
	// PFSettings: PFs have settings for their VFs.
	PFSettings() bool
	// SetVF sets MAC and trust of a VF on its PF.
	SetVF(pci bond.PCIAddress, s bond.VFSettings) error
	// SetMemberOptions sets options of a member.
	SetMemberOptions(path, name string, o bond.MemberOptions) error
}

// Node is where the plugin runs.
type Node interface {
	Kernel
	// VF returns the PCI address of a VF of a card; HostName the name that its link has in the host.
	VF(card, number int) bond.PCIAddress
	HostName(pci bond.PCIAddress) string
	// PF returns the name of a card's PF, PFAddress its PCI address.
	PF(card int) string
	PFAddress(card int) string
	// HostNetns is a path of the host's netns.
	HostNetns() string
	// LinkKinds are the kinds of virtual links that AddHostLink can make in the host.
	LinkKinds() []string
	AddHostLink(name, kind string)
	// Occupy gives an address to another host on the network.
	Occupy(a netip.Addr)
	// CacheVF makes sriov-cni's cache name a link of a pod as one that it attached for c1.
	CacheVF(path, name string)
	// AwaitSearch waits until an ADD waits for a link.
	AwaitSearch(added <-chan error)
	// MemberSettings returns queue ID and priority of a member.
	MemberSettings(path, name string) (queueID, prio int)
	// Mode returns a bond's mode.
	Mode(path, name string) string
	// Active returns the name of the active member of a bond in a pod; empty if it has none.
	Active(path, name string) string
	// Addresses and Routes are those of a bond, without those that the kernel adds itself.
	Addresses(path, name string) []string
	Routes(path, name string) []string
	// LinkState is all links of the host and the pods, as text.
	LinkState() string
	// Call calls the plugin in this process. CallProcess calls it in its own process, as a runtime does, if the node
	// can do that. They return what the plugin prints on standard output.
	Call(verb string, args *skel.CmdArgs) ([]byte, error)
	CallProcess(verb string, args *skel.CmdArgs) ([]byte, error)
	// IPAM calls the IPAM plugins for the agent. (pkg/ipam's tests use this package.)
	IPAM() reconcile.IPAM
	// Slow: calls take long. Of long tables only those rows run whose result depends on the kernel.
	Slow() bool
	// Logged is what the plugin has printed on standard error.
	Logged() string
	// PluginDir is the directory of the other plugins.
	PluginDir() string
}
