// Package world is the ground of the planner's and the engine's tests: a fake node with
// two cards, a pod with a VF of each, the record of a bond over them, and everything that
// can befall it by name. For tests only.
package world

import (
	"fmt"
	"net/netip"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
)

// Names of what a World is made of.
const (
	PodPath = "/run/netns/pod"
	BondIf  = "bond0"
	vfsEach = 2
)

// Cards are the names of the two PFs.
var Cards = [2]string{"ens1", "ens2"}

// World is the fake kernel and the record of one bond, whose pod may have others.
type World struct {
	*linktest.Fake
	Record *bond.Record
	// VFs are the PCI addresses of net1 and net2.
	VFs [2]bond.PCIAddress
	// vfs is the number of VFs that a card has.
	vfs int
}

// Fault is something that befalls the pod. Not every one is possible in every state;
// what cannot happen does not.
type Fault struct {
	Name string
	Do   func(*World)
}

// OKD are the options of the OKD page's bond.
func OKD() bond.Options {
	return bond.Options{bond.OptMode: "active-backup", bond.OptMiimon: "100", bond.OptFailOverMac: "active"}
}

// New is a pod as sriov-cni leaves it: two VFs in its netns, up, with PF-side settings, no bond yet.
func New(options bond.Options) *World {
	f := NewNode(vfsEach)
	w := NewBond(f, f.AddPod(PodPath), bond.Key{ContainerID: "c0ffee", IfName: BondIf}, 0, vfsEach, options)
	w.Record.Routes = append([]bond.Route{{Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.56.217.1")}}, w.Record.Routes...)
	return w
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

// NewBond is a bond of a pod, with the VFs of that number, which are in the host. Each number has members, addresses and routes of its own.
func NewBond(f *linktest.Fake, sandbox bond.Sandbox, key bond.Key, number, vfs int, options bond.Options) *World {
	w := &World{Fake: f, vfs: vfs}
	w.Record = &bond.Record{
		Key: key, Phase: bond.PhaseReady, Network: "bond-net1",
		Pod: bond.Pod{Namespace: "demo", Name: "bondpod1", UID: "u"}, Sandbox: sandbox,
		Spec: bond.Spec{Options: options, MTU: 1400},
	}
	for i, card := range Cards {
		w.VFs[i] = f.VFs(card)[number]
		w.addMember(i, number)
	}
	w.Record.Spec.MAC = w.Record.Members[0].MAC
	w.Record.Addresses = []bond.Address{
		{Prefix: netip.MustParsePrefix(fmt.Sprintf("10.56.%d.66/24", 217+number))}, {Prefix: netip.MustParsePrefix(fmt.Sprintf("fd00:%x::66/64", number))},
	}
	w.Record.Routes = []bond.Route{{Dst: netip.MustParsePrefix(fmt.Sprintf("192.168.%d.0/24", 7+number))}}
	return w
}

// Path is that of the pod's netns.
func (w *World) Path() string { return w.Record.Sandbox.Path }

// name is that of member i in the pod.
func (w *World) name(i int) string { return w.Record.Members[i].Name }

func (w *World) addMember(i, number int) {
	pci, path, name := w.VFs[i], w.Path(), fmt.Sprintf("net%d", 2*number+i+1)
	mac := bond.MAC(fmt.Sprintf("02:00:00:00:%02x:%02x", number, i+1))
	spoof, trust := true, i == 0 || !w.Record.Spec.Options.MACFollowsActive() // else the PF refuses another MAC
	must(w.SetVF(pci, bond.VFSettings{MAC: &mac, VLAN: &bond.VLAN{ID: 100 + i, Proto: 0x8100}, SpoofChk: &spoof, Trust: &trust}))
	must(w.MoveToNetns(linktest.Host, w.hostName(pci), path, name))
	must(w.SetMAC(path, name, mac))
	must(w.SetUp(path, name))
	vf, _ := w.VF(pci)
	l, _ := w.Link(path, name)
	w.Record.Members = append(w.Record.Members, bond.Member{
		Name: name, PCI: pci, MAC: mac, VF: &vf,
		Before: bond.Before{Name: name, MAC: l.MAC, MTU: l.MTU, Up: true},
	})
	w.Attach(w.Record, i)
}

func (w *World) hostName(pci bond.PCIAddress) string {
	path, l, found := w.Netdev(pci)
	if !found || path != linktest.Host {
		panic("world: VF " + string(pci) + " is not in the host")
	}
	return l.Name
}

func must(err error) {
	if err != nil {
		panic("world: " + err.Error())
	}
}

// Heal brings back everything that only the world outside can bring back: drivers, VFs, cables, names
// taken by decoys, claims and caches of sriov-cni. What is left is Bondkeeper's to mend.
func (w *World) Heal() {
	for i, card := range Cards {
		_ = w.BindPF(card)
		if len(w.Fake.VFs(card)) == 0 {
			_ = w.SetNumVFs(card, w.vfs)
		}
		_ = w.SetPFCarrier(card, true)
		_ = w.SetUp(linktest.Host, card)
		_ = w.ResetVF(w.VFs[i], 0)
		_ = w.BindVF(w.VFs[i])
		if w.Record.Members[i].SriovCNI == nil {
			w.Claim(w.VFs[i], "")
		} else {
			w.Attach(w.Record, i)
		}
	}
	for _, name := range []string{w.name(0), w.name(1), w.Record.BondName(), "x", "other", "odd0", w.Record.Members[0].SpareName(), w.Record.Members[1].SpareName()} {
		if l, ok := w.Link(w.Path(), name); ok && l.Kind == "dummy" {
			_ = w.DeleteLink(w.Path(), name)
		}
	}
}
