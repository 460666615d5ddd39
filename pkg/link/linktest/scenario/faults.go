package scenario

import (
	"fmt"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
)

// Faults returns every external event that a pod's bond may meet, those of the cards first. Kept fuzz inputs and walks name
// them by position: append new ones.
func Faults() []Fault {
	var all []Fault
	add := func(name string, do func(*Node)) { all = append(all, Fault{name, do}) }
	for i, name := range []string{"net1", "net2"} {
		card := Cards[i]
		add("VF of "+name+" unbound", func(n *Node) { _ = n.UnbindVF(n.VFs[i]) })
		add("VF of "+name+" bound", func(n *Node) { _ = n.BindVF(n.VFs[i]) })
		add("VF of "+name+" reset", func(n *Node) { _ = n.ResetVF(n.VFs[i], 1) })
		add(card+": sriov_numvfs 0", func(n *Node) { _ = n.SetNumVFs(card, 0) })
		add(card+": sriov_numvfs again", func(n *Node) { _ = n.SetNumVFs(card, n.vfs) })
		add(card+": driver unbound", func(n *Node) { _ = n.UnbindPF(card) })
		add(card+": driver bound", func(n *Node) { _ = n.BindPF(card) })
		add(card+": cable pulled", func(n *Node) { _ = n.SetPFCarrier(card, false) })
		add(card+": cable plugged", func(n *Node) { _ = n.SetPFCarrier(card, true) })
		add(card+": down", func(n *Node) { _ = n.SetDown(linktest.Host, card) })
		add(card+": up", func(n *Node) { _ = n.SetUp(linktest.Host, card) })
		add(name+" moved to the host", func(n *Node) { _ = n.MoveToHost(n.Path(), n.name(i)) })
		add(name+" released", func(n *Node) { _ = n.Release(n.Path(), n.name(i)) })
		add(name+" renamed", func(n *Node) { _ = n.Rename(n.Path(), n.name(i), "x") })
		add(name+" and the other trade names", func(n *Node) {
			_ = n.Rename(n.Path(), n.name(i), "swap")
			_ = n.Rename(n.Path(), n.name(1-i), n.name(i))
			_ = n.Rename(n.Path(), "swap", n.name(1-i))
		})
		add(name+" set down", func(n *Node) { _ = n.SetDown(n.Path(), n.name(i)) })
		add(name+" gets another MTU", func(n *Node) { _ = n.SetMTU(n.Path(), n.name(i), 1280) })
		add(name+" has a decoy", func(n *Node) { _, _ = n.AddImpostor(n.Path(), n.name(i)) })
		add(name+"'s spare name has a decoy", func(n *Node) { _, _ = n.AddImpostor(n.Path(), n.Record.Members[i].TempName()) })
		add("decoy "+name+" enslaved", func(n *Node) { _ = n.Enslave(n.Path(), n.name(i), n.Record.BondName()) })
		add(name+" is claimed", func(n *Node) { n.Claim(n.VFs[i], "/run/netns/elsewhere") })
		add(name+": claim dropped", func(n *Node) { n.Claim(n.VFs[i], "") })
		add(name+": claim unreadable", func(n *Node) { n.BreakClaim(n.VFs[i]) })
		add(name+" returned by sriov-cni", func(n *Node) { n.ReleaseByPlugin(i) })
	}
	for _, f := range bondFaults() {
		add(f.Name, f.Do)
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
	option := func(o bond.Option, v string) func(*Node) {
		return func(n *Node) { _ = n.SetOption(n.Path(), n.Record.BondName(), o, v) }
	}
	return []Fault{
		{"bond deleted", func(n *Node) { _ = n.DeleteBond(n.Path(), n.Record.BondName()) }},
		{"bond renamed", func(n *Node) { _ = n.Rename(n.Path(), n.Record.BondName(), "other") }},
		{"bond takes a member's name", func(n *Node) {
			_ = n.Rename(n.Path(), n.name(0), "x")
			_ = n.Rename(n.Path(), n.Record.BondName(), n.name(0))
		}},
		{"bond's name taken", func(n *Node) { _, _ = n.AddImpostor(n.Path(), n.Record.BondName()) }},
		{"bond set down", func(n *Node) { _ = n.SetDown(n.Path(), n.Record.BondName()) }},
		{"bond gets another MTU", func(n *Node) { _ = n.SetMTU(n.Path(), n.Record.BondName(), 1280) }},
		{"bond gets another MAC", func(n *Node) { _ = n.SetMAC(n.Path(), n.Record.BondName(), "02:00:00:00:00:99") }},
		{"addresses flushed", func(n *Node) { _ = n.FlushAddresses(n.Path(), n.Record.BondName()) }},
		{"routes flushed", func(n *Node) { _ = n.FlushRoutes(n.Path(), n.Record.BondName()) }},
		{"miimon changed", option(bond.OptMiimon, "200")},
		{"failOverMac changed", option(bond.OptFailOverMac, "none")},
		{"queue IDs traded", func(n *Node) {
			_ = n.SetMemberOptions(n.Path(), n.name(1), new(uint16(0)), nil)
			_ = n.SetMemberOptions(n.Path(), n.name(0), new(uint16(1)), nil)
			_ = n.SetMemberOptions(n.Path(), n.name(1), new(uint16(2)), nil)
		}},
		{"priorities changed", func(n *Node) {
			if n.Record.Members[0].Prio == nil {
				return // it is a failover, requested by the pod
			}
			_ = n.SetMemberOptions(n.Path(), n.name(0), nil, new(int32(-5)))
			_ = n.SetMemberOptions(n.Path(), n.name(1), nil, new(int32(5)))
		}},
		{"other bond made", func(n *Node) { _ = n.AddBond(n.Path(), "odd0", bond.Options{bond.OptMode: "active-backup"}) }},
		{"net1 stolen by another bond", func(n *Node) {
			_ = n.Release(n.Path(), n.name(0))
			_ = n.Enslave(n.Path(), n.name(0), "odd0")
		}},
		{"agent's pod elsewhere", func(n *Node) { n.AddPod("/run/netns/elsewhere") }},
	}
}
