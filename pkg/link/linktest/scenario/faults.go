package scenario

import (
	"fmt"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/faults"
)

// Faults returns every external event that a pod's bond may meet: the steps of the catalogue, and what only walks, fuzz
// tests and single tests need: its result depends on other bonds and earlier events. Kept fuzz inputs and walks name
// them by position: append new ones.
func Faults() []Fault {
	var all []Fault
	add := func(name string, do func(*Node)) { all = append(all, Fault{name, do}) }
	for i, name := range []string{"net1", "net2"} {
		card := Cards[i]
		add("VF of "+name+" reset", func(n *Node) { _ = n.ResetVF(n.VFs[i], 1) })
		add(card+": cable pulled", func(n *Node) { _ = n.SetPFCarrier(card, false) })
		add(card+": cable plugged", func(n *Node) { _ = n.SetPFCarrier(card, true) })
		add(name+"'s temporary name has an impostor", func(n *Node) { _, _ = n.AddImpostor(n.Path(), n.Record.Members[i].TempName()) })
		add("impostor of "+name+" enslaved", func(n *Node) { _ = n.Enslave(n.Path(), n.name(i), n.Record.BondName()) })
		add(name+" is claimed", func(n *Node) { n.Claim(n.VFs[i], "/run/netns/elsewhere") })
		add(name+": claim dropped", func(n *Node) { n.Claim(n.VFs[i], "") })
		add(name+": claim unreadable", func(n *Node) { n.BreakClaim(n.VFs[i]) })
		add(name+" returned by sriov-cni", func(n *Node) { n.ReleaseByPlugin(i) })
	}
	for _, f := range append(bondFaults(), catalogue()...) {
		add(f.Name, f.Do)
	}
	for i, name := range []string{"net1", "net2"} {
		add(name+" bound again in the pod's netns", func(n *Node) {
			_ = n.UnbindVF(n.VFs[i])
			_ = n.BindVFIn(n.VFs[i], n.Path())
		})
	}
	return all
}

// catalogue returns each step of each row that is true of every bond, for each member where it happens to one.
func catalogue() (all []Fault) {
	for _, f := range faults.Rows() {
		for m := range f.Count() {
			if f.OwnMACs {
				continue
			}
			for i, s := range f.Steps {
				all = append(all, Fault{fmt.Sprintf("%s: net%d, step %d", f.Name, m+1, i+1), func(n *Node) { _ = s.Do(n.Bond(), m) }})
			}
		}
	}
	return all
}

// ReleaseByPlugin is sriov-cni's DEL of member i: the VF, as it was before its ADD, is the next tenant's.
func (n *Node) ReleaseByPlugin(i int) {
	if n.Record.Members[i].SriovCNI == nil {
		return
	}
	mac := bond.MAC("00:00:00:00:00:00")
	vf, _ := n.VF(n.VFs[i])
	serial := i + 2*vf.Number
	_ = n.ReleaseVF(n.Record, i, fmt.Sprintf("rel%d", serial), bond.MAC(fmt.Sprintf("02:00:00:00:01:%02x", serial)), bond.VFSettings{
		MAC: &mac, VLAN: &bond.VLAN{}, SpoofChk: new(true), Trust: new(false),
	})
}

func bondFaults() []Fault {
	return []Fault{
		{"bond's name taken", func(n *Node) { _, _ = n.AddImpostor(n.Path(), n.Record.BondName()) }},
		{"bond gets another MAC", func(n *Node) { _ = n.SetMAC(n.Path(), n.Record.BondName(), "02:00:00:00:00:99") }},
		{"routes flushed", func(n *Node) { _ = n.FlushRoutes(n.Path(), n.Record.BondName()) }},
		{"failOverMac changed", func(n *Node) { _ = n.SetOption(n.Path(), n.Record.BondName(), bond.OptFailOverMac, "none") }},
		{"queue IDs traded", func(n *Node) {
			_ = n.SetMemberOptions(n.Path(), n.name(1), bond.MemberOptions{QueueID: new(uint16(0))})
			_ = n.SetMemberOptions(n.Path(), n.name(0), bond.MemberOptions{QueueID: new(uint16(1))})
			_ = n.SetMemberOptions(n.Path(), n.name(1), bond.MemberOptions{QueueID: new(uint16(2))})
		}},
		{"priorities changed", func(n *Node) {
			if n.Record.Members[0].Prio == nil {
				return // it is a failover, requested by the pod
			}
			_ = n.SetMemberOptions(n.Path(), n.name(0), bond.MemberOptions{Prio: new(int32(-5))})
			_ = n.SetMemberOptions(n.Path(), n.name(1), bond.MemberOptions{Prio: new(int32(5))})
		}},
		{"other bond made", func(n *Node) { _ = n.AddBond(n.Path(), "odd0", bond.Options{bond.OptMode: "active-backup"}) }},
		{"net1 stolen by another bond", func(n *Node) {
			_ = n.Release(n.Path(), n.name(0))
			_ = n.Enslave(n.Path(), n.name(0), "odd0")
		}},
		{"agent's pod elsewhere", func(n *Node) { n.AddPod("/run/netns/elsewhere") }},
	}
}
