package link

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netns"
)

// Observe reads the state of everything in the record. A missing sandbox is a result, not an error. Its VFs are still
// searched for in the host, so that they can be returned. Those of an earlier boot are not: their PCI addresses may
// belong to other VFs now.
func (k *Kernel) Observe(ctx context.Context, r *bond.Record) (bond.Observed, error) {
	pod, o, err := k.observeLinks(ctx, r)
	defer pod.close()
	switch {
	case errors.Is(err, netns.ErrEarlierBoot):
		return o, nil
	case err != nil:
		return bond.Observed{}, err
	}
	if err := k.observeNetwork(ctx, pod, r, &o); err != nil {
		return bond.Observed{}, err
	}
	k.observeOwnership(r, &o)
	k.observePFSettings(ctx, r, &o)
	return o, nil
}

// observeLinks reads all but the addresses and routes of the bond. The caller closes pod, which is nil if the sandbox
// is missing.
func (k *Kernel) observeLinks(ctx context.Context, r *bond.Record) (pod *conn, o bond.Observed, err error) {
	o.Members = make([]bond.ObservedMember, len(r.Members))
	for i := range o.Members {
		o.Members[i].Location = bond.Lost
	}
	pod, err = k.openPod(ctx, r.Sandbox)
	switch {
	case err == nil:
		o.SandboxAlive = true
		err = pod.observe(r, &o)
	case errors.Is(err, bond.ErrGone) && !errors.Is(err, netns.ErrEarlierBoot):
		err = nil
	}
	if err == nil {
		err = k.observeHost(ctx, r, &o)
	}
	if err == nil && o.ReadsOnTop(r) {
		o.Bond.OnTop, o.Bond.OnTopKnown = pod.linksOnTop(&o.Bond.Link)
		k.observeRDMA(pod, r, &o)
		pod.observeEthtool(r, &o)
	}
	return pod, o, err
}

// observe reads the links in the pod: the bond, its slaves, and the record's members.
func (c *conn) observe(r *bond.Record, o *bond.Observed) error {
	defer func() { c.searched = nil }()
	b, named, err := c.findBond(r)
	switch {
	case err != nil:
		return err
	case b != nil:
		if o.NameHolder, err = c.holderOf(r.BondName(), b); err != nil {
			return err
		}
	case named != nil:
		o.NameHolder = &named.Link
	}
	var slaves devices
	master := 0
	if b != nil {
		master = b.Index
		if slaves, err = c.slavesOf(master, r); err != nil {
			return err
		}
	}
	found := make(map[int]bool, len(r.Members)) // by ifindex
	for i := range r.Members {
		d, err := c.observeMember(slaves, master, r, i, &o.Members[i])
		if err != nil {
			return err
		}
		if d != nil {
			found[d.Index] = true
		}
	}
	if b == nil {
		return nil
	}
	o.Bond = &bond.ObservedBond{Link: b.Link, HasMembers: len(slaves) > 0}
	for _, d := range slaves {
		if !found[d.Index] {
			o.UnknownMembers = append(o.UnknownMembers, d.Link)
		}
	}
	if err := c.observeUpper(b, r, o); err != nil {
		return err
	}
	if err := c.observeBond(b, slaves, o.Bond, r); err != nil {
		return err
	}
	return c.observeNeigh(r, o)
}

// observeMember searches for a member in the pod; nil if it is not there.
func (c *conn) observeMember(slaves devices, master int, r *bond.Record, i int, om *bond.ObservedMember) (*device, error) {
	m := &r.Members[i]
	d, ambiguous, err := c.member(slaves, m, master)
	if err != nil {
		return nil, err
	}
	om.Ambiguous = ambiguous
	if d != nil {
		om.Location, om.Link, om.MIIUp = bond.InPod, d.Link, d.member.miiUp
		om.MemberOptions, om.Port = d.member.options, d.member.port
		if om.Settings, err = c.settingsOf(d, r, m.Restoring); err != nil {
			return nil, err
		}
	}
	if om.NameHolder, err = c.holderOf(m.Name, d); err == nil && om.NameHolder != nil {
		om.TempNameHolder, err = c.holderOf(m.TempName(), d)
	}
	return d, err
}

// holderOf returns a link that has a name but is not its owner; nil if there is none.
func (c *conn) holderOf(name string, owner *device) (*bond.Link, error) {
	if owner != nil && owner.named(name) {
		return nil, nil
	}
	d, err := c.deviceByName(name)
	if err != nil || d == nil || owner != nil && owner.Index == d.Index {
		return nil, err
	}
	return &d.Link, nil
}

// findBond returns the record's bond: by ifindex if it is known and that of a bond, by name otherwise; nil if there is
// none. Then named is the link that has its name, or nil.
func (c *conn) findBond(r *bond.Record) (b, named *device, err error) {
	b, err = c.deviceByIndex(r.BondIndex)
	if err != nil || b != nil && b.Kind == "bond" {
		return b, nil, err
	}
	named, err = c.deviceByName(r.BondName())
	if err != nil || named == nil || named.Kind != "bond" || named.Name != r.BondName() {
		return nil, named, err
	}
	return named, nil, nil
}

// observeBond reads the bond's own message and its sysctls. If the bond is to be deleted, the options are enough.
func (c *conn) observeBond(b *device, slaves devices, o *bond.ObservedBond, r *bond.Record) (err error) {
	nameOf := slaves.nameOf
	if len(slaves) >= maxUnknownMembers { // not all of them were read
		nameOf = c.nameOf
	}
	if o.Options, err = decodeOptions(b.data, nameOf); err != nil {
		return err
	}
	o.Active, o.Aggregator = activeMember(b), activeAggregator(b)
	if r.Deleted() {
		return nil
	}
	o.Settings, err = c.settingsOf(b, r, r.Restoring)
	return err
}

// settingsOf returns a link's settings without those of its neighbour tables. restoring: the link was lost, and its
// settings are not known to be back.
func (c *conn) settingsOf(d *device, r *bond.Record, restoring bool) (bond.LinkSettings, error) {
	s, err := d.linkSettings()
	if err == nil && r.Phase == bond.PhaseReady {
		s.TC = c.trafficControl(d, r.InSetup() || restoring)
	}
	return s, err
}

func activeMember(b *device) int {
	active := 0
	attr := bond.LookupOption(bond.OptActiveSlave).Attr
	_ = eachAttr(b.data, func(typ uint16, v []byte) error { // decodeOptions has read it without an error
		if typ == attr {
			active = int(number(v))
		}
		return nil
	})
	return active
}

// Aggregator reads the active aggregator of the record's bond; nil if it has none.
func (k *Kernel) Aggregator(ctx context.Context, r *bond.Record) (*bond.Aggregator, error) {
	pod, err := k.openPod(ctx, r.Sandbox)
	if err != nil {
		return nil, err
	}
	defer pod.close()
	b, _, err := pod.findBond(r)
	if err != nil {
		return nil, err
	}
	if b == nil {
		return nil, fmt.Errorf("bond %s %s: %w", r.BondName(), pod.place, bond.ErrGone)
	}
	return activeAggregator(b), nil
}

// activeAggregator decodes IFLA_BOND_AD_INFO, which the kernel sends in mode 802.3ad while there is an active
// aggregator.
func activeAggregator(b *device) *bond.Aggregator {
	var a *bond.Aggregator
	_ = eachAttr(b.data, func(typ uint16, v []byte) error { // decodeOptions has read it without an error
		if typ != nl.IFLA_BOND_AD_INFO {
			return nil
		}
		a = &bond.Aggregator{}
		return eachAttr(v, func(typ uint16, v []byte) error {
			switch {
			case typ == nl.IFLA_BOND_AD_INFO_AGGREGATOR:
				a.ID = int(number(v))
			case typ == nl.IFLA_BOND_AD_INFO_NUM_PORTS:
				a.Ports = int(number(v))
			case typ == nl.IFLA_BOND_AD_INFO_PARTNER_MAC && len(v) == 6:
				a.Partner = bond.MACOf(v)
			}
			return nil
		})
	})
	return a
}

// observeHost searches the host for members that are not in the pod. It reads the PFs of VFs for which that matters:
// those in the host, and those without carrier.
func (k *Kernel) observeHost(ctx context.Context, r *bond.Record, o *bond.Observed) error {
	missing, silent := false, false
	for i := range r.Members {
		m, om := &r.Members[i], &o.Members[i]
		missing = missing || om.Location == bond.Lost && om.Ambiguous == "" && mayBeInHost(m)
		silent = silent || noCarrier(m, om)
	}
	if !missing && !silent {
		return nil
	}
	host, err := k.openHost(ctx)
	if err != nil {
		return err
	}
	defer host.close()
	if missing {
		if err = host.findIn(r, o); err != nil {
			return err
		}
	}
	for i := range r.Members {
		m, om := &r.Members[i], &o.Members[i]
		if m.PCI != "" && om.Location == bond.Lost {
			om.Driver = k.sysfs.boundTo(m.PCI)
		}
		inHost := m.PCI != "" && om.Location == bond.InHost
		if !inHost && !noCarrier(m, om) {
			continue
		}
		if om.PF, err = k.observePF(host, m, inHost); err != nil {
			return err
		}
	}
	return nil
}

func mayBeInHost(m *bond.Member) bool { return m.PCI != "" || m.Original.FromHost && m.Serial != 0 }

func noCarrier(m *bond.Member, om *bond.ObservedMember) bool {
	return m.PCI != "" && om.Location == bond.InPod && om.Link.Up && !om.Link.Carrier
}

// findIn finds lost members in the host.
func (c *conn) findIn(r *bond.Record, o *bond.Observed) error {
	for i := range r.Members {
		m, om := &r.Members[i], &o.Members[i]
		if om.Location != bond.Lost || om.Ambiguous != "" || !mayBeInHost(m) {
			continue
		}
		d, ambiguous, err := c.member(nil, m, 0)
		if err != nil {
			return err
		}
		if om.Ambiguous = ambiguous; d != nil {
			om.Location, om.Link = bond.InHost, d.Link
		}
	}
	return nil
}

// observePF reads the state of a VF's PF; nil if there is no PF or it has no netdev. Settings are requested only if
// needed: the driver then queries the card about each VF.
func (k *Kernel) observePF(host *conn, m *bond.Member, withSettings bool) (*bond.ObservedPF, error) {
	pf, d, err := k.pfDevice(host, m.PCI, withSettings)
	if err != nil {
		return nil, unlessUnknown(err)
	}
	o := observedPF(d)
	if !withSettings {
		return o, nil
	}
	number, err := k.sysfs.numberOf(pf, m.PCI)
	if err == nil {
		o.VF, err = d.vfSettings(number)
	}
	if err != nil {
		return nil, unlessUnknown(err)
	}
	return o, nil
}

// unlessUnknown returns nil for errors of a PF that is missing, is not known to be the one, or does not list the VF. They
// concern this VF only: the rest of the bond is repaired.
func unlessUnknown(err error) error {
	if errors.Is(err, bond.ErrGone) || errors.Is(err, errAmbiguous) || errors.Is(incompleteVFList(err), errIncompleteVFList) {
		return nil
	}
	return err
}

// pfDevice finds the netdev of a VF's PF in the host; bond.ErrGone if there is none.
func (k *Kernel) pfDevice(host *conn, vf bond.PCIAddress, withVFs bool) (bond.PCIAddress, *device, error) {
	pf, err := k.sysfs.pfOf(vf)
	if err != nil {
		return "", nil, err
	}
	name, err := k.sysfs.pfNetdevOf(pf, vf)
	if err != nil {
		return "", nil, err
	}
	d, err := host.byName(name, withVFs)
	if err != nil {
		return "", nil, err
	}
	if d.PCI != pf { // it was renamed, and another has the name now
		return "", nil, errNotPF(d, pf)
	}
	return pf, d, nil
}
