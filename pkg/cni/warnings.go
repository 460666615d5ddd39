package cni

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netconf"
)

// warnings returns what is allowed but probably not intended, one sentence each.
func warnings(c *Config, r *bond.Record, found *bond.MemberResult) []string {
	w := append([]string(nil), found.Warnings...)
	w = append(w, c.Options.Warnings()...)
	if s := tooManyMinLinks(r); s != "" {
		w = append(w, s)
	}
	if name := c.IgnoredIfName; name != "" && name != r.Key.IfName {
		w = append(w, fmt.Sprintf("%s: %q is ignored: the bond has the name that the runtime gives, %s (CNI_IFNAME)", fieldIfName, netconf.Excerpt(name), r.Key.IfName))
	}
	if s := activeSlaveOverridden(r, found); s != "" {
		w = append(w, s)
	}
	w = append(w, sharedPFs(r, found)...)
	if vfs := names(r, func(i int) bool { return pfOf(r, found, i) != "" }); r.Spec.Options.Mode() == bond.Mode8023AD && vfs != "" {
		w = append(w, fmt.Sprintf("mode 802.3ad: %s: LACP runs with a card's port, not with a VF; at most one pod per PF receives the switch's frames", vfs))
	}
	if s := untrustedVFs(r, found); s != "" {
		w = append(w, s)
	}
	if s := forcedCarrier(r, found); s != "" {
		w = append(w, s)
	}
	if c.IPs && c.IPAM == "" {
		w = append(w, "ips: addresses are requested, but there is no IPAM plugin")
	}
	return w
}

// tooManyMinLinks returns a warning if minLinks, which only 802.3ad has, exceeds the number of links.
func tooManyMinLinks(r *bond.Record) string {
	text := r.Spec.Options[bond.OptMinLinks]
	if n, err := strconv.Atoi(text); err != nil || n <= len(r.Members) || r.Spec.Options.Mode() != bond.Mode8023AD {
		return ""
	}
	return fmt.Sprintf("%s: %s is more than the number of links, %d: the bond never has carrier", bond.OptMinLinks, text, len(r.Members))
}

// activeSlaveOverridden returns a warning if a primary or priorities have precedence over activeSlave.
func activeSlaveOverridden(r *bond.Record, found *bond.MemberResult) string {
	active, i := r.Spec.Options[bond.OptActiveSlave], preferredMember(r, found)
	for j := range r.Members {
		if m := &r.Members[j]; m.Name == active && found.Links[j].Missing == nil && i >= 0 && i != j {
			return fmt.Sprintf("%s: %s: %s is preferred to it, as primary or by its prio", bond.OptActiveSlave, active, r.Members[i].Name)
		}
	}
	return ""
}

// names lists the members for which is returns true.
func names(r *bond.Record, is func(i int) bool) string {
	var list []string
	for i := range r.Members {
		if is(i) {
			list = append(list, r.Members[i].Name)
		}
	}
	return strings.Join(list, ", ")
}

// pfOf returns the PCI address of a VF's PF; empty for other links, and if it is not known.
func pfOf(r *bond.Record, found *bond.MemberResult, i int) bond.PCIAddress {
	if vf := r.Members[i].VF; vf != nil {
		return vf.PF
	}
	if pf := found.Links[i].PF; pf != nil {
		return pf.PCI
	}
	return ""
}

// sharedPFs returns a warning per PF with several members: a bond is meant to survive the failure of one.
func sharedPFs(r *bond.Record, found *bond.MemberResult) []string {
	var w []string
	warned := map[bond.PCIAddress]bool{}
	for i := range r.Members {
		address := pfOf(r, found, i)
		if address == "" || warned[address] {
			continue
		}
		warned[address] = true
		same := names(r, func(j int) bool { return pfOf(r, found, j) == address })
		if !strings.Contains(same, ",") {
			continue
		}
		name := string(address)
		if pf := found.Links[i].PF; pf != nil {
			name = fmt.Sprintf("%s (%s)", pf.Name, address)
		}
		w = append(w, fmt.Sprintf("links: %s are VFs of one PF, %s: if it fails, all of them fail", same, name))
	}
	return w
}

// untrustedVFs returns a warning about untrusted VFs, which may only send with the MAC that the PF has for them.
func untrustedVFs(r *bond.Record, found *bond.MemberResult) string {
	o := r.Spec.Options
	if o.MACFollowsActive() {
		return ""
	}
	swaps := o.SwapsMACs() && len(r.Members) > 1
	list := names(r, func(i int) bool {
		pf := found.Links[i].PF
		changes := swaps || !o.SwapsMACs() && r.Members[i].MAC != r.Spec.MAC
		return changes && pf != nil && pf.VF.Trust != nil && !*pf.VF.Trust
	})
	if list == "" {
		return ""
	}
	how := "puts the bond's MAC on every link"
	if swaps {
		how = "moves MACs between links"
	}
	what := "mode " + o.Mode().String()
	if o.Mode() == bond.ModeActiveBackup {
		what += fmt.Sprintf(" with failOverMac=%s", orNone(o[bond.OptFailOverMac]))
	}
	return fmt.Sprintf("%s %s, but the PF of %s does not allow it another MAC: it may reject the change or silently drop the traffic; set trust on, or use active-backup with failOverMac=active", what, how, list)
}

// forcedCarrier returns a warning about VFs whose carrier does not follow their PF's, which miimon relies on.
func forcedCarrier(r *bond.Record, found *bond.MemberResult) string {
	if miimon := r.Spec.Options.Effective()[bond.OptMiimon]; miimon == "" || miimon == "0" {
		return ""
	}
	list := names(r, func(i int) bool {
		pf := found.Links[i].PF
		return pf != nil && pf.VF.HasLinkState(bond.LinkStateEnable)
	})
	if list == "" {
		return ""
	}
	return fmt.Sprintf("miimon: the PF forces the carrier of %s (link state enable), so the loss of the cable is not detected; set the link state to auto, or use ARP monitoring", list)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
