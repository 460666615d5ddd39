package scenario

import (
	"fmt"
	"net/netip"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
	"github.com/bondkeeper/bondkeeper/test/faults"
)

// Names in every Node.
const (
	PodPath = "/run/netns/pod"
	BondIf  = "bond0"
	vfsEach = 2
)

// Cards are the names of the two PFs.
var Cards = [2]string{"ens1", "ens2"}

// Node is the fake kernel and the record of one bond, whose pod may have others.
type Node struct {
	*linktest.Fake
	Record *bond.Record
	// VFs are the PCI addresses of net1 and net2.
	VFs [2]bond.PCIAddress
	// vfs is the number of VFs that a card has.
	vfs int
}

// Fault is an external event. Not every one is possible in every state; an impossible one changes nothing.
type Fault struct {
	Name string
	Do   func(*Node)
}

// OKD are the options of the OKD page's bond.
func OKD() bond.Options {
	return bond.Options{bond.OptMode: "active-backup", bond.OptMiimon: "100", bond.OptFailOverMac: "active"}
}

// New is a pod as sriov-cni leaves it: two VFs in its netns, up, with PF-side settings, no bond yet.
func New(options bond.Options) *Node {
	f := NewNode(vfsEach)
	n := NewBond(f, f.AddPod(PodPath), bond.Key{ContainerID: "c0ffee", IfName: BondIf}, 0, vfsEach, options)
	n.Record.Routes = append([]bond.Route{{Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.56.217.1")}}, n.Record.Routes...)
	return n
}

// NewNode is a fake kernel with both cards and no pod.
func NewNode(vfs int) *linktest.Fake {
	f := linktest.New()
	for i, card := range Cards {
		must(f.AddPF(card, []bond.PCIAddress{"0000:01:00.0", "0000:02:00.0"}[i]))
		must(f.SetNumVFs(card, vfs))
	}
	return f
}

// NewBond is a bond of a pod, with the VFs of that number, which are in the host. Each number has members, addresses
// and routes of its own.
func NewBond(f *linktest.Fake, sandbox bond.Sandbox, key bond.Key, number, vfs int, options bond.Options) *Node {
	n := &Node{Fake: f, vfs: vfs}
	n.Record = &bond.Record{
		Key: key, Phase: bond.PhaseReady, Network: "bond-net1",
		Pod: bond.Pod{Namespace: "demo", Name: "bondpod1", UID: "u"}, Sandbox: sandbox,
		Spec: bond.Spec{Options: options, MTU: 1400},
	}
	for i, card := range Cards {
		n.VFs[i] = f.VFs(card)[number]
		n.addMember(i, number)
	}
	n.Record.Spec.MAC = n.Record.Members[0].MAC
	n.Record.Addresses = []bond.Address{
		{Prefix: netip.MustParsePrefix(fmt.Sprintf("10.56.%d.66/24", 217+number))}, {Prefix: netip.MustParsePrefix(fmt.Sprintf("fd00:%x::66/64", number))},
	}
	n.Record.Routes = []bond.Route{{Dst: netip.MustParsePrefix(fmt.Sprintf("192.168.%d.0/24", 7+number))}}
	return n
}

// Path is that of the pod's netns.
func (n *Node) Path() string { return n.Record.Sandbox.Path }

// Bond is the bond for the catalogue of faults.
func (n *Node) Bond() *faults.Bond {
	return &faults.Bond{Node: n.Fake, Path: n.Path(), Name: n.Record.BondName(), Members: n.Record.Members, NumVFs: n.vfs}
}

// name is that of member i in the pod.
func (n *Node) name(i int) string { return n.Record.Members[i].Name }

func (n *Node) addMember(i, number int) {
	pci, path, name := n.VFs[i], n.Path(), fmt.Sprintf("net%d", 2*number+i+1)
	mac := bond.MAC(fmt.Sprintf("02:00:00:00:%02x:%02x", number, i+1))
	spoof, trust := true, i == 0 || !n.Record.Spec.Options.MACFollowsActive() // else the PF refuses another MAC
	must(n.SetVF(pci, bond.VFSettings{MAC: &mac, VLAN: &bond.VLAN{ID: 100 + i, Proto: 0x8100}, SpoofChk: &spoof, Trust: &trust}))
	must(n.MoveToNetns(linktest.Host, n.hostName(pci), path, name))
	must(n.SetMAC(path, name, mac))
	must(n.SetUp(path, name))
	vf, _ := n.VF(pci)
	l, _ := n.Link(path, name)
	n.Record.Members = append(n.Record.Members, bond.Member{
		Name: name, PCI: pci, MAC: mac, VF: &vf,
		Original: bond.Original{Name: name, MAC: l.MAC, MTU: l.MTU, Up: true},
	})
	n.Attach(n.Record, i)
}

func (n *Node) hostName(pci bond.PCIAddress) string {
	path, l, found := n.Netdev(pci)
	if !found || path != linktest.Host {
		panic("scenario: VF " + string(pci) + " is not in the host")
	}
	return l.Name
}

func must(err error) {
	if err != nil {
		panic("scenario: " + err.Error())
	}
}

// RestoreHardware restores everything that Bondkeeper cannot: drivers, VFs, cables, names taken by impostors,
// claims and caches of sriov-cni. The rest is for Bondkeeper to repair.
func (n *Node) RestoreHardware() {
	for i, card := range Cards {
		_ = n.BindPF(card)
		if len(n.Fake.VFs(card)) == 0 {
			_ = n.SetNumVFs(card, n.vfs)
		}
		_ = n.SetPFCarrier(card, true)
		_ = n.SetUp(linktest.Host, card)
		_ = n.ResetVF(n.VFs[i], 0)
		_ = n.BindVF(n.VFs[i])
		if n.Record.Members[i].SriovCNI == nil {
			n.Claim(n.VFs[i], "")
		} else {
			n.Attach(n.Record, i)
		}
	}
	for _, name := range []string{n.name(0), n.name(1), n.Record.BondName(), "x", "other", "odd0", n.Record.Members[0].TempName(), n.Record.Members[1].TempName()} {
		if l, ok := n.Link(n.Path(), name); ok && l.Kind == "dummy" {
			_ = n.DeleteLink(n.Path(), name)
		}
	}
}
