package linktest

import (
	"context"
	"slices"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// Observe reads everything that is in the record.
func (f *Fake) Observe(ctx context.Context, r *bond.Record) (bond.Observed, error) {
	if err := ctx.Err(); err != nil {
		return bond.Observed{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.observeErrs) > 0 {
		err := f.observeErrs[0]
		f.observeErrs = f.observeErrs[1:]
		return bond.Observed{}, err
	}
	pod, err := f.pod(r)
	o := bond.Observed{SandboxAlive: err == nil}
	if err != nil {
		pod = nil
	}
	b := observeBond(pod, r, &o)
	for i := range r.Members {
		o.Members = append(o.Members, f.observeMember(pod, r, &r.Members[i]))
	}
	if b != nil {
		o.UnknownMembers = unknownMembers(b, o.Members)
		f.hideNetwork(r, &o)
	}
	if o.ReadsOnTop(r) {
		o.Bond.OnTop, o.Bond.OnTopKnown = onTop(b), true
		for i := range r.Members {
			if pci := r.Members[i].PCI; pci != "" && o.Members[i].Location == bond.InPod {
				o.Members[i].RDMA = f.observeRDMA(pod, pci)
			}
		}
		observeEthtool(pod, r, &o)
	}
	return o, nil
}

// hideNetwork leaves addresses and routes unread if a test requests it, and in every second observation in which links
// must be repaired first.
func (f *Fake) hideNetwork(r *bond.Record, o *bond.Observed) {
	postponed := f.postponed[r.Key]
	delete(f.postponed, r.Key)
	switch {
	case r.Deleted(), r.WithoutNetwork():
		return
	case f.hidden > 0:
		f.hidden--
		o.Bond.Unread, o.Bond.ReadLater = "hidden", f.readLater
	case o.OnlyMembersDiffer(r) && !postponed:
		f.postponed[r.Key] = true
		o.Bond.Unread, o.Bond.ReadLater = "links first", true
	default:
		return
	}
	plan.NewAddressList(r, o.Bond)
	plan.NewRouteList(r, o.Bond)
}

// findBond finds the bond by its index, so that a rename does not hide it, or else by its name; nil if there is none.
func findBond(pod *space, r *bond.Record) *netdev {
	for _, d := range []*netdev{pod.links[r.BondIndex], pod.byName(r.BondName())} {
		if d != nil && d.bond != nil {
			return d
		}
	}
	return nil
}

func observeBond(pod *space, r *bond.Record, o *bond.Observed) *netdev {
	if pod == nil {
		return nil
	}
	named, b := pod.byName(r.BondName()), findBond(pod, r)
	if named != nil && named != b {
		o.NameHolder = new(named.describe())
	}
	if b == nil {
		return nil
	}
	ob := &bond.ObservedBond{
		Link: b.describe(), Options: b.bond.reported(), HasMembers: len(b.bond.members) > 0, Aggregator: b.bond.activeAggregator(),
	}
	if !r.Deleted() {
		ob.Settings = b.settings.Clone()
		if !r.WithoutNetwork() {
			b.list(r, ob)
		}
	}
	if b.bond.usesPrimary() && b.bond.active != nil {
		ob.Active = b.bond.active.index
	}
	o.Bond = ob
	observeUpper(pod, b, r, o)
	return b
}

func (f *Fake) observeMember(pod *space, r *bond.Record, m *bond.Member) bond.ObservedMember {
	om := bond.ObservedMember{Location: bond.Lost}
	if earlierBoot(r.Sandbox) {
		return om
	}
	d := f.find(pod, m, r)
	if d != nil {
		om.Link = d.describe()
		if m.PCI == "" && m.Serial != 0 {
			om.Link.Serial = d.serial
		}
		om.MIIUp = d.master != nil && d.linkState
		if d.master != nil {
			om.MemberOptions, om.Port = d.memberOptions(), d.master.bond.portOf(d)
		}
		om.Location = bond.InHost
		if d.space == pod {
			om.Location, om.Settings = bond.InPod, d.settings.Clone()
		}
	}
	if pod != nil {
		if named := pod.byName(m.Name); named != nil && named != d {
			om.NameHolder = new(named.describe())
			if temporary := pod.byName(m.TempName()); temporary != nil && temporary != d {
				om.TempNameHolder = new(temporary.describe())
			}
		}
	}
	if m.PCI == "" {
		return om
	}
	f.observeOwnership(r, m, &om)
	if om.Location == bond.Lost {
		om.Driver = f.driverOf(m.PCI)
	}
	if om.Location == bond.InPod && findBond(pod, r) != nil {
		om.PFSettings = f.pfSettings(r, m)
	}
	switch {
	case om.Location == bond.InHost:
		om.PF = f.observePF(m.PCI)
	case om.Location == bond.InPod && om.Link.Up && !om.Link.Carrier:
		if om.PF = f.observePF(m.PCI); om.PF != nil {
			om.PF.VF = bond.VFSettings{} // read only for a VF that is about to be moved
		}
	}
	return om
}

// find searches for a member by its identity in the pod and in the host; otherwise it is lost.
func (f *Fake) find(pod *space, m *bond.Member, r *bond.Record) *netdev {
	if m.PCI == "" {
		return f.findVirtual(pod, m, r)
	}
	v := f.vfByPCI(m.PCI)
	if v == nil || v.link == nil || v.link.space != pod && v.link.space != f.spaces[Host] {
		return nil
	}
	return v.link
}

// findVirtual searches for a virtual link in the pod by its ifindex there, and in the host, if it came from there, by
// its serial alone. Without a serial, one from the host is identified only while it is in the bond.
func (f *Fake) findVirtual(pod *space, m *bond.Member, r *bond.Record) *netdev {
	observations := func(d *netdev) bool {
		l := d.describe()
		return l.PCI == "" && l.PermMAC == m.PermMAC && (m.Kind == "" || m.Kind == l.Kind) && (m.Serial == 0 || m.Serial == d.serial)
	}
	if pod != nil && pod.links[m.Index] != nil && observations(pod.links[m.Index]) {
		d := pod.links[m.Index]
		if m.Serial != 0 || !m.Original.FromHost || d.master != nil && d.master.index == r.BondIndex {
			return d
		}
	}
	if m.Serial == 0 || !m.Original.FromHost {
		return nil
	}
	for _, d := range f.spaces[Host].sorted() {
		if observations(d) && (d.index == m.HostIndex || d.index == m.Index || d.name == m.Original.Name) {
			return d
		}
	}
	return nil
}

// onTop are the names of the macvlans on a link.
func onTop(d *netdev) (names []string) {
	for _, o := range d.space.links {
		if o.lower == d {
			names = append(names, o.name)
		}
	}
	slices.Sort(names)
	return names
}

// driverOf is the driver of a VF, or bond.NoDriver or NoDevice.
func (f *Fake) driverOf(pci bond.PCIAddress) string {
	switch v := f.vfByPCI(pci); {
	case v == nil:
		return bond.NoDevice
	case v.link == nil && !v.probing:
		return bond.NoDriver
	}
	return "igbvf"
}

func (f *Fake) observePF(pci bond.PCIAddress) *bond.ObservedPF {
	v := f.vfByPCI(pci)
	if v == nil || v.pf.link == nil {
		return nil
	}
	l := v.pf.link
	return &bond.ObservedPF{Name: l.name, Index: l.index, Up: l.up, Carrier: l.carrier(), VF: v.settings}
}

func unknownMembers(b *netdev, members []bond.ObservedMember) []bond.Link {
	var out []bond.Link
	for _, d := range b.bond.members {
		isMember := func(m bond.ObservedMember) bool { return m.Location == bond.InPod && m.Link.Index == d.index }
		if !slices.ContainsFunc(members, isMember) {
			out = append(out, d.describe())
		}
	}
	return out
}
