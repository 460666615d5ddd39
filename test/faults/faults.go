package faults

import (
	"net/netip"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// Node has the changes that users, pods and drivers make to links: linktest.Fake and kit.Links. Links are named by the
// path of their netns and their name there, VFs and PFs by PCI address.
type Node interface {
	Link(path, name string) (bond.Link, bool)
	AddImpostor(path, name string) (bond.Link, error)
	DeleteLink(path, name string) error
	MoveToHost(path, name string) error
	Rename(path, name, to string) error
	SetUp(path, name string) error
	SetDown(path, name string) error
	SetMAC(path, name string, m bond.MAC) error
	SetMTU(path, name string, mtu int) error
	SetOption(path, name string, option bond.Option, value string) error
	Enslave(path, name, bondName string) error
	Release(path, name string) error
	FlushAddresses(path, name string) error
	DeleteRoute(path, name string, dst netip.Prefix) error

	UnbindVF(pci bond.PCIAddress) error
	BindVF(pci bond.PCIAddress) error
	SetNumVFs(pf string, n int) error
	UnbindPF(pf string) error
	BindPF(pf string) error
	SetPF(pf string, up bool) error
}

// Bond is the bond that a fault happens to.
type Bond struct {
	Node
	Path, Name string // of its netns and its link
	Members    []bond.Member
	NumVFs     int // of each card
}

// Fault is a row of the catalogue.
type Fault struct {
	// Name describes the fault, Expect the expected result. Outcome is the result in the table; "healed" if empty.
	Name, Expect, Outcome string
	// Steps are the fault, and what follows it from outside. After the last step the bond is as before.
	Steps []Step
	// Member: the steps happen to a member. Card: they happen to its card, and so to all VFs of that.
	Member, Card bool
	// Setting is the requested setting that the steps change; empty if they change none. The agent adopts the value of
	// a writer that changes it three times within a minute.
	Setting string
	// Paused: on a real node the agent is stopped during the first step, because it would undo it half done.
	Paused bool
	// Failover: the kernel has made another member the active one, and that is not undone.
	Failover bool
	// OwnMACs: the expectation holds for a bond whose members have their own MACs (failOverMac 1). Random walks have
	// other bonds and skip the row.
	OwnMACs bool
	// Minor: the row is not in the demo.
	Minor bool
	// Flags are the real agent's flags.
	Flags []string
	// Needs are what the model of the cards must have.
	Needs Needs
	// Special is why the row has no steps: test/heal has a function for it. Engine is the engine's corresponding test;
	// empty if the fault cannot happen to the engine.
	Special, Engine string
}

// Needs are properties of models of cards (topology.Model) that a fault needs.
type Needs struct{ VFSettings, VFsFollowPF, ResetDropsCarrier bool }

// Count is the number of members that the fault can happen to.
func (f *Fault) Count() int {
	if f.Member || f.Card {
		return 2
	}
	return 1
}

// Step is a part of a fault. After the first one a loss is expected, unless Report is set.
type Step struct {
	What string // for the log
	// Do does it. m is the index of the member.
	Do func(b *Bond, m int) error
	// BothLost: the loss of each member is expected.
	BothLost bool
	// State and Report are reported: the bond's state, and a part of its reason.
	State  bond.State
	Report string
	// Untouched: the agent changes nothing after it.
	Untouched bool
	// Check is an additional condition; nil if there is none.
	Check func(b *Bond, m int) error
}

func (b *Bond) pci(m int) bond.PCIAddress { return b.Members[m].PCI }
func (b *Bond) name(m int) string         { return b.Members[m].Name }
func (b *Bond) pf(m int) string           { return string(b.Members[m].VF.PF) }
