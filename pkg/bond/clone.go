package bond

import (
	"maps"
	"slices"
)

// Clone returns a deep copy.
func (r *Record) Clone() *Record {
	c := *r
	c.Spec.Options = maps.Clone(r.Spec.Options)
	c.Members = cloneEach(r.Members, (*Member).clone)
	c.Addresses, c.Routes = slices.Clone(r.Addresses), cloneEach(r.Routes, (*Route).clone)
	c.DNS, c.Learned, c.Lease = cloneOf(r.DNS, (*DNS).clone), cloneOf(r.Learned, (*Learned).clone), cloneOf(r.Lease, nil)
	c.CNI.Config = slices.Clone(r.CNI.Config)
	c.Repairs.Open, c.Repairs.Last, c.Repairs.Recent = maps.Clone(r.Repairs.Open), cloneOf(r.Repairs.Last, nil), slices.Clone(r.Repairs.Recent)
	c.Contested, c.Fights, c.Warnings = slices.Clone(r.Contested), slices.Clone(r.Fights), slices.Clone(r.Warnings)
	return &c
}

// cloneOf copies what p points to; nil if p is nil. inner, if not nil, then replaces what the copy shares with it.
func cloneOf[T any](p *T, inner func(*T)) *T {
	if p == nil {
		return nil
	}
	c := *p
	if inner != nil {
		inner(&c)
	}
	return &c
}

func cloneEach[T any](all []T, inner func(*T)) []T {
	all = slices.Clone(all)
	for i := range all {
		inner(&all[i])
	}
	return all
}

// The following make an assigned copy independent of its original.

func (m *Member) clone() {
	m.VF, m.SriovCNI = cloneOf(m.VF, (*VF).clone), cloneOf(m.SriovCNI, nil)
	m.QueueID, m.Prio, m.ActorPortPrio = cloneOf(m.QueueID, nil), cloneOf(m.Prio, nil), cloneOf(m.ActorPortPrio, nil)
	m.Settings = cloneOf(m.Settings, (*LinkSettings).clone)
}

func (v *VF) clone() {
	v.Settings.clone()
	v.Observed = cloneOf(v.Observed, (*VFSettings).clone)
}

func (s *VFSettings) clone() {
	s.MAC, s.VLAN, s.Rate = cloneOf(s.MAC, nil), cloneOf(s.VLAN, nil), cloneOf(s.Rate, nil)
	s.SpoofChk, s.Trust, s.LinkState = cloneOf(s.SpoofChk, nil), cloneOf(s.Trust, nil), cloneOf(s.LinkState, nil)
}

func (s *LinkSettings) clone() { *s = s.Clone() }

func (r *Route) clone() { r.Table, r.Scope = cloneOf(r.Table, nil), cloneOf(r.Scope, nil) }

func (d *DNS) clone() {
	d.Nameservers, d.Search, d.Options = slices.Clone(d.Nameservers), slices.Clone(d.Search), slices.Clone(d.Options)
}

func (l *Learned) clone() {
	l.Settings.clone()
	l.Addresses, l.Routes = slices.Clone(l.Addresses), cloneEach(l.Routes, (*Route).clone)
	l.NoPrefixRoute, l.Upper, l.OnTop = slices.Clone(l.NoPrefixRoute), cloneOf(l.Upper, nil), slices.Clone(l.OnTop)
	l.Lost = cloneOf(l.Lost, nil)
}
