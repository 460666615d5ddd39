package world

import (
	"fmt"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
)

// Faults are all that can befall a pod bond, a card's side first.
func Faults() []Fault {
	var all []Fault
	add := func(name string, do func(*World)) { all = append(all, Fault{name, do}) }
	for i, name := range []string{"net1", "net2"} {
		card := Cards[i]
		add("VF of "+name+" unbound", func(w *World) { _ = w.UnbindVF(w.VFs[i]) })
		add("VF of "+name+" bound", func(w *World) { _ = w.BindVF(w.VFs[i]) })
		add("VF of "+name+" reset", func(w *World) { _ = w.ResetVF(w.VFs[i], 1) })
		add(card+": sriov_numvfs 0", func(w *World) { _ = w.SetNumVFs(card, 0) })
		add(card+": sriov_numvfs again", func(w *World) { _ = w.SetNumVFs(card, w.vfs) })
		add(card+": driver unbound", func(w *World) { _ = w.UnbindPF(card) })
		add(card+": driver bound", func(w *World) { _ = w.BindPF(card) })
		add(card+": cable pulled", func(w *World) { _ = w.SetPFCarrier(card, false) })
		add(card+": cable plugged", func(w *World) { _ = w.SetPFCarrier(card, true) })
		add(card+": down", func(w *World) { _ = w.SetDown(linktest.Host, card) })
		add(card+": up", func(w *World) { _ = w.SetUp(linktest.Host, card) })
		add(name+" moved to the host", func(w *World) { _ = w.MoveToHost(w.Path(), w.name(i)) })
		add(name+" released", func(w *World) { _ = w.Release(w.Path(), w.name(i)) })
		add(name+" renamed", func(w *World) { _ = w.Rename(w.Path(), w.name(i), "x") })
		add(name+" and the other trade names", func(w *World) {
			_ = w.Rename(w.Path(), w.name(i), "swap")
			_ = w.Rename(w.Path(), w.name(1-i), w.name(i))
			_ = w.Rename(w.Path(), "swap", w.name(1-i))
		})
		add(name+" set down", func(w *World) { _ = w.SetDown(w.Path(), w.name(i)) })
		add(name+" gets another MTU", func(w *World) { _ = w.SetMTU(w.Path(), w.name(i), 1280) })
		add(name+" has a decoy", func(w *World) { _, _ = w.AddDecoy(w.Path(), w.name(i)) })
		add(name+"'s spare name has a decoy", func(w *World) { _, _ = w.AddDecoy(w.Path(), w.Record.Members[i].SpareName()) })
		add("decoy "+name+" enslaved", func(w *World) { _ = w.Enslave(w.Path(), w.name(i), w.Record.BondName()) })
		add(name+" is claimed", func(w *World) { w.Claim(w.VFs[i], "/run/netns/elsewhere") })
		add(name+": claim dropped", func(w *World) { w.Claim(w.VFs[i], "") })
		add(name+": claim unreadable", func(w *World) { w.BreakClaim(w.VFs[i]) })
		add(name+" returned by sriov-cni", func(w *World) { w.ReleaseByPlugin(i) })
	}
	for _, f := range bondFaults() {
		add(f.Name, f.Do)
	}
	return all
}

// ReleaseByPlugin is sriov-cni's DEL of member i: the VF, as it was before its ADD, is the next tenant's.
func (w *World) ReleaseByPlugin(i int) {
	if w.Record.Members[i].SriovCNI == nil {
		return
	}
	mac := bond.MAC("00:00:00:00:00:00")
	vf, _ := w.VF(w.VFs[i])
	n := i + 2*vf.Number
	_ = w.ReleaseVF(w.Record, i, fmt.Sprintf("rel%d", n), bond.MAC(fmt.Sprintf("02:00:00:00:01:%02x", n)), bond.VFSettings{
		MAC: &mac, VLAN: &bond.VLAN{}, SpoofChk: new(true), Trust: new(false),
	})
}

func bondFaults() []Fault {
	option := func(o bond.Option, v string) func(*World) {
		return func(w *World) { _ = w.SetOption(w.Path(), w.Record.BondName(), o, v) }
	}
	return []Fault{
		{"bond deleted", func(w *World) { _ = w.DeleteBond(w.Path(), w.Record.BondName()) }},
		{"bond renamed", func(w *World) { _ = w.Rename(w.Path(), w.Record.BondName(), "other") }},
		{"bond takes a member's name", func(w *World) {
			_ = w.Rename(w.Path(), w.name(0), "x")
			_ = w.Rename(w.Path(), w.Record.BondName(), w.name(0))
		}},
		{"bond's name taken", func(w *World) { _, _ = w.AddDecoy(w.Path(), w.Record.BondName()) }},
		{"bond set down", func(w *World) { _ = w.SetDown(w.Path(), w.Record.BondName()) }},
		{"bond gets another MTU", func(w *World) { _ = w.SetMTU(w.Path(), w.Record.BondName(), 1280) }},
		{"bond gets another MAC", func(w *World) { _ = w.SetMAC(w.Path(), w.Record.BondName(), "02:00:00:00:00:99") }},
		{"addresses flushed", func(w *World) { _ = w.FlushAddresses(w.Path(), w.Record.BondName()) }},
		{"routes flushed", func(w *World) { _ = w.FlushRoutes(w.Path(), w.Record.BondName()) }},
		{"miimon changed", option(bond.OptMiimon, "200")},
		{"failOverMac changed", option(bond.OptFailOverMac, "none")},
		{"queue IDs traded", func(w *World) {
			_ = w.TuneMember(w.Path(), w.name(1), new(uint16(0)), nil)
			_ = w.TuneMember(w.Path(), w.name(0), new(uint16(1)), nil)
			_ = w.TuneMember(w.Path(), w.name(1), new(uint16(2)), nil)
		}},
		{"priorities changed", func(w *World) {
			if w.Record.Members[0].Prio == nil {
				return // it is a failover, by the pod's own wish
			}
			_ = w.TuneMember(w.Path(), w.name(0), nil, new(int32(-5)))
			_ = w.TuneMember(w.Path(), w.name(1), nil, new(int32(5)))
		}},
		{"other bond made", func(w *World) { _ = w.AddBond(w.Path(), "odd0", bond.Options{bond.OptMode: "active-backup"}) }},
		{"net1 stolen by another bond", func(w *World) {
			_ = w.Release(w.Path(), w.name(0))
			_ = w.Enslave(w.Path(), w.name(0), "odd0")
		}},
		{"agent's pod elsewhere", func(w *World) { w.AddPod("/run/netns/elsewhere") }},
	}
}
