package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// Traffic control, ethtool settings and RDMA devices are lost with a link, and are not restored. So they are named
// until their writers have configured them again.

// maxNamed bounds what a text names: another driver may have other values for all ethtool settings, and a pod may create
// any number of links.
const maxNamed = 8

// reportLostSettings warns of queueing disciplines and ethtool settings that were lost with the bond or a member.
// Traffic is not lost, but it is not shaped, filtered or offloaded as before.
func (b *builder) reportLostSettings() {
	warn := func(name string, restoring bool, recorded, now bond.LinkSettings) {
		if missing := recorded.EthtoolMissing(now); len(missing) > 0 {
			b.plan.Warnings = append(b.plan.Warnings, "ethtool settings of "+name+" are missing since it was lost: "+
				someOf(missing)+"; have their writer set them again, or recreate the pod")
		}
		if restoring {
			recorded = recorded.Clone()
			recorded.Lose(now)
		}
		if missing := recorded.StillMissing(now); len(missing) > 0 {
			b.plan.Warnings = append(b.plan.Warnings, "traffic control of "+name+" is missing since it was lost: "+
				strings.Join(missing, ", ")+"; have its writer configure it again, or recreate the pod")
		}
	}
	if l := b.rec.Learned; l != nil {
		warn(b.rec.BondName(), b.rec.Restoring, l.Settings, b.obs.Bond.Settings)
	}
	for i := range b.rec.Members {
		if m := &b.rec.Members[i]; m.Settings != nil && b.obs.Enslaved(i) {
			warn(m.Name, m.Restoring, *m.Settings, b.obs.Members[i].Settings)
		}
	}
}

// someOf lists the first maxNamed settings.
func someOf(e bond.Ethtool) string { return firstOf(e.Strings()) }

// firstOf lists the first maxNamed texts.
func firstOf(all []string) string {
	if n := len(all) - maxNamed; n > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:maxNamed], ", "), n)
	}
	return strings.Join(all, ", ")
}

// onlyNamed describes a change of what is not restored, for the log; empty if there is none.
func onlyNamed(old, now *bond.LinkSettings) string {
	text := ""
	if !slices.Equal(old.TC, now.TC) || !slices.Equal(old.MissingTC, now.MissingTC) {
		text = fmt.Sprintf(" traffic control %v, missing %v", now.TC, now.MissingTC)
	}
	var changed bond.Ethtool // a link's first ones are the driver's, and no change
	if old.EthtoolOf == now.EthtoolOf {
		changed = now.Ethtool.Without(old.Ethtool)
	}
	if len(changed) > 0 {
		text += fmt.Sprintf(" ethtool [%s]", someOf(changed))
	}
	if !maps.Equal(old.MissingEthtool, now.MissingEthtool) {
		text += fmt.Sprintf(" missing ethtool settings [%s]", someOf(now.MissingEthtool))
	}
	return text
}

// rdma records that another writer has moved a VF's RDMA device into the pod.
func (l *learner) rdma(m *bond.Member, o *bond.ObservedMember) {
	if d := o.RDMA; d != nil && d.InPod != "" && d.InHost == "" && m.RDMA != d.InPod {
		m.RDMA = d.InPod
		l.logf("%s: RDMA device %s", m.Name, d.InPod)
	}
}

// reportRDMA reports that the RDMA device of a VF in the bond stayed in the host when the VF returned.
func (b *builder) reportRDMA(i int, m *bond.ObservedMember) {
	rec := &b.rec.Members[i]
	if rec.RDMA == "" || m.RDMA == nil || m.RDMA.InPod != "" || m.RDMA.InHost == "" {
		return
	}
	b.report(i, RDMAInHost, "%s: its RDMA device %s is in the host; move it into the pod's netns (rdma dev set %s netns NETNS), or recreate the pod",
		rec, m.RDMA.InHost, m.RDMA.InHost)
}
