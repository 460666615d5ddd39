// Package world is the ground of the planner's and the engine's tests: a fake node with
// two cards, a pod with a VF of each, the record of a bond over them, and everything that
// can befall it by name. For tests only.
package world

import (
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

// World is the fake kernel with one pod and the record of its bond.
type World struct {
	*linktest.Fake
	Record *bond.Record
	// VFs are the PCI addresses of net1 and net2.
	VFs [2]bond.PCIAddress
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
	w := &World{Fake: linktest.New()}
	sandbox := w.AddPod(PodPath)
	w.Record = &bond.Record{
		Key: bond.Key{ContainerID: "c0ffee", IfName: BondIf}, Phase: bond.PhaseReady, Network: "bond-net1",
		Pod: bond.Pod{Namespace: "demo", Name: "bondpod1", UID: "u"}, Sandbox: sandbox,
		Spec: bond.Spec{Options: options, MTU: 1400},
	}
	for i, card := range Cards {
		pci := bond.PCIAddress([]string{"0000:01:00.0", "0000:02:00.0"}[i])
		must(w.AddPF(card, pci))
		must(w.SetNumVFs(card, vfsEach))
		w.VFs[i] = w.Fake.VFs(card)[0]
		w.addMember(i, w.VFs[i])
	}
	w.Record.Spec.MAC = w.Record.Members[0].MAC
	w.Record.Addresses = []bond.Address{{Prefix: netip.MustParsePrefix("10.56.217.66/24")}, {Prefix: netip.MustParsePrefix("fd00::66/64")}}
	w.Record.Routes = []bond.Route{
		{Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.56.217.1")},
		{Dst: netip.MustParsePrefix("192.168.7.0/24")},
	}
	return w
}

func (w *World) addMember(i int, pci bond.PCIAddress) {
	name := []string{"net1", "net2"}[i]
	mac := bond.MAC([]string{"02:00:00:00:00:01", "02:00:00:00:00:02"}[i])
	spoof, trust := true, i == 0 || !w.Record.Spec.Options.MACFollowsActive() // else the PF refuses another MAC
	must(w.SetVF(pci, bond.VFSettings{MAC: &mac, VLAN: &bond.VLAN{ID: 100 + i, Proto: 0x8100}, SpoofChk: &spoof, Trust: &trust}))
	must(w.MoveToNetns(linktest.Host, w.hostName(pci), PodPath, name))
	must(w.SetMAC(PodPath, name, mac))
	must(w.SetUp(PodPath, name))
	vf, _ := w.VF(pci)
	l, _ := w.Link(PodPath, name)
	w.Record.Members = append(w.Record.Members, bond.Member{
		Name: name, PCI: pci, MAC: mac, VF: &vf,
		Before: bond.Before{Name: name, MAC: l.MAC, MTU: l.MTU, Up: true},
	})
	w.Attach(w.Record, i)
}

func (w *World) hostName(pci bond.PCIAddress) string {
	for _, name := range []string{"eth0", "eth1", "eth2", "eth3", "eth4", "eth5", "net1", "net2"} {
		if l, ok := w.Link(linktest.Host, name); ok && l.PCI == pci {
			return name
		}
	}
	panic("world: VF " + string(pci) + " is not in the host")
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
			_ = w.SetNumVFs(card, vfsEach)
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
	for _, name := range []string{"net1", "net2", BondIf, "x", "other", "net9", w.Record.Members[0].SpareName(), w.Record.Members[1].SpareName()} {
		if l, ok := w.Link(PodPath, name); ok && l.Kind == "dummy" {
			_ = w.DeleteLink(PodPath, name)
		}
	}
}
