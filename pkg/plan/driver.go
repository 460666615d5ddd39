package plan

import (
	"cmp"
	"fmt"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// The bonding driver decides by its own monitor, and in mode 802.3ad by LACP, which members it uses. What it decides is
// reported, and nothing is changed because of it: the cause is on the path to the targets or at the switch.

// reportUnused reports a member with carrier that the driver does not use. A bond that is down runs no monitor.
func (b *builder) reportUnused(i int, m *bond.ObservedMember) {
	rec, o := &b.rec.Members[i], b.obs.Bond
	switch {
	case !o.Up || m.Used():
	case m.MIIUp:
		b.reportPort(i, m.Port)
	case isSet(o.Options[bond.OptArpInterval]):
		targets := cmp.Or(o.Options[bond.OptArpIPTargets], o.Options[bond.OptNsIP6Targets], "none")
		if ns := o.Options[bond.OptNsIP6Targets]; ns != "" && targets != ns {
			targets += "," + ns
		}
		b.reportWaiting(i, NotUsed, "%s has carrier, but the bond's ARP or NS monitor gets no answer through it (targets: %s); check the targets, the VLAN and the switch", rec, targets)
	default:
		text := ""
		if o.Options.Mode() == bond.Mode8023AD { // the kernel never counts a link without them as up (bond_miimon_commit)
			text = "; does ethtool show a speed and duplex of the link? Mode 802.3ad needs both"
		}
		b.reportWaiting(i, NotUsed, "%s has carrier, but the bond's MII monitor does not count it as up yet (miimon %s, updelay %s)%s", rec, o.Options[bond.OptMiimon], cmp.Or(o.Options[bond.OptUpdelay], "0"), text)
	}
}

// reportPort reports a port that is not active in mode 802.3ad.
func (b *builder) reportPort(i int, p *bond.Port) {
	rec, active := &b.rec.Members[i], b.obs.Bond.Aggregator
	switch {
	case active != nil && p.Aggregator != active.ID:
		b.reportWaiting(i, NotUsed, "%s has carrier, but its port is in aggregator %d, and the active one is %d; is it connected to the same LACP partner?", rec, p.Aggregator, active.ID)
	default:
		b.reportWaiting(i, NotUsed, "%s has carrier, but LACP does not use its port (partner's port state: %s%s); does its switch port run LACP?", rec, p.Partner, churned(p))
	}
}

// churned names the sides that did not get in synchronization within a minute; empty if there are none or the kernel
// does not report it.
func churned(p *bond.Port) string {
	switch actor, partner := p.ActorChurn == bond.Churned, p.PartnerChurn == bond.Churned; {
	case actor && partner:
		return "; actor and partner churned"
	case actor:
		return "; actor churned"
	case partner:
		return "; partner churned"
	}
	return ""
}

// reportAggregator reports a bond in mode 802.3ad without an LACP partner, or without enough ports for carrier.
func (b *builder) reportAggregator() {
	o := b.obs.Bond
	if o.Options.Mode() != bond.Mode8023AD || !o.Up || !b.anyCarrier() {
		return
	}
	a := o.Aggregator
	if a == nil {
		b.reportWaiting(OnBond, Aggregation, "no port has joined an aggregator")
		return
	}
	ports := 0
	for i := range b.obs.Members {
		if m := &b.obs.Members[i]; b.enslaved(m) && m.Link.Carrier && m.Used() {
			ports++
		}
	}
	text := fmt.Sprintf("%d of %d ports in the active aggregator, partner %s", ports, len(b.rec.Members), a.Partner)
	if a.Partner.IsZero() {
		text += ": does the switch port run LACP?"
	}
	if !o.Carrier {
		text += "; the bond has no carrier below minLinks " + o.Options[bond.OptMinLinks]
		if o.Options[bond.OptLacpStrict] == "on" {
			text += ", or without a port that is collecting and distributing (lacpStrict)"
		}
	}
	if a.Partner.IsZero() || !o.Carrier {
		b.reportWaiting(OnBond, Aggregation, "%s", text)
	}
}

// anyCarrier reports whether any member in the bond has carrier.
func (b *builder) anyCarrier() bool {
	for i := range b.obs.Members {
		if m := &b.obs.Members[i]; b.enslaved(m) && m.Link.Carrier {
			return true
		}
	}
	return false
}

// isSet reports whether a numeric option has a value other than 0.
func isSet(value string) bool { return value != "" && value != "0" }
