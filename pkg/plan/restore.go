package plan

import (
	"slices"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// planBondExtras restores the settings and the master that other writers gave a bond that was lost or down. It precedes
// members and addresses: enslaving the bond to a VRF sets it down and up (cycle_netdev), and settings such as
// disable_ipv6 decide which addresses it accepts.
func (b *builder) planBondExtras() {
	l := b.rec.Learned
	b.reportNotRecorded()
	if !b.rec.Restoring || l == nil {
		return
	}
	if d := l.Settings.Diff(b.obs.Bond.Settings); !d.Empty() {
		b.report(OnBond, NotRestored, "the bond lacks settings of other writers: %s", d)
		b.add(SetLinkSettings{MemberIndex: OnBond, Link: b.bondRef(), Change: d})
	}
	if !freed(l.Upper, b.obs.Bond) {
		b.planUpper(l.Upper)
	}
}

// freed reports whether another writer released the bond from its master. A bond loses its master only so, or when it is
// deleted itself.
func freed(from *bond.Upper, o *bond.ObservedBond) bool {
	return from != nil && from.BondIndex == o.Index && o.Upper == nil
}

// leftVRF reports whether another writer released the bond from a VRF, whose routing table is known.
func leftVRF(from *bond.Upper, o *bond.ObservedBond) bool { return freed(from, o) && from.Table != 0 }

func (b *builder) planUpper(want *bond.Upper) {
	if want == nil || b.obs.Bond.Upper != nil {
		return
	}
	u := b.obs.Upper
	if u == nil {
		b.report(OnBond, NotRestored, "the bond was enslaved to %s (%s), which the pod no longer has; recreate it or the pod", want.Name, want.Kind)
		return
	}
	b.report(OnBond, NotRestored, "the bond is no longer enslaved to %s (%s)", want.Name, want.Kind)
	b.add(SetUpper{MemberIndex: OnBond, Bond: b.bondRef(), Upper: bond.Upper{Index: u.Index, Name: u.Name, Kind: u.Kind}})
}

// planNetworkExtras restores addresses and routes of other writers on a bond that was lost or down.
func (b *builder) planNetworkExtras() {
	l, o := b.rec.Learned, b.obs.Bond
	if !b.rec.Restoring || l == nil {
		return
	}
	for _, p := range l.Addresses {
		if _, changed := otherPrefix(o, p); changed || slices.Contains(o.Addresses, p) {
			continue
		}
		b.report(OnBond, NotRestored, "the bond lacks address %s, which another writer had added", p)
		b.add(AddAddress{MemberIndex: OnBond, Bond: b.bondRef(), Prefix: p})
		b.announceLater()
	}
	for _, r := range routesByDependency(l.Routes) {
		if leftVRF(l.Upper, o) && table(r) == l.Upper.Table {
			continue // it is of no use outside the VRF
		}
		changed := slices.ContainsFunc(o.Routes, func(have bond.Route) bool { return replaces(r, have) }) // by its writer, since
		if changed || HasRoute(o, r) {
			continue
		}
		b.report(OnBond, NotRestored, "the bond lacks route %s, which another writer had added", r)
		b.add(AddRoute{MemberIndex: OnBond, Bond: b.bondRef(), Route: r})
	}
}

// planPrefixRoutes deletes routes of the kernel's that set-up had deleted. It runs a round after the addresses, when
// the routes that need them exist.
func (b *builder) planPrefixRoutes() {
	l, o := b.rec.Learned, b.obs.Bond
	if !b.rec.Restoring || l == nil || len(b.plan.Actions) > 0 {
		return
	}
	for _, p := range l.NoPrefixRoute {
		if r, found := prefixRoute(o, p); found && hasPrefixRoute(o, p) {
			b.report(OnBond, NotRestored, "the bond has the kernel's route %s, which another writer had deleted", r)
			b.add(DeleteRoute{MemberIndex: OnBond, Bond: b.bondRef(), Route: r})
		}
	}
}

// routesByDependency sorts routes so that the kernel accepts them: a gateway must be reachable before it is used, so
// those without one come first.
func routesByDependency(routes []bond.Route) []bond.Route {
	out := slices.Clone(routes)
	slices.SortStableFunc(out, func(x, y bond.Route) int {
		rank := func(r bond.Route) int {
			if r.Gateway.IsValid() {
				return 1
			}
			return 0
		}
		return rank(x) - rank(y)
	})
	return out
}

// planMemberExtras restores the settings that sriov-cni or tuning gave a member that was lost.
func (b *builder) planMemberExtras(i int, m *bond.ObservedMember) {
	rec := &b.rec.Members[i]
	if !rec.Restoring || rec.Settings == nil {
		return
	}
	if d := rec.Settings.Diff(m.Settings); !d.Empty() {
		b.report(i, NotRestored, "%s lacks settings of other writers: %s", rec, d)
		b.add(SetLinkSettings{MemberIndex: MemberIndex(i), Link: LinkRefOf(bond.InPod, &m.Link), Change: d})
	}
}

// Restored clears the marks of losses for which nothing is left that can be restored. It reports whether the record changed.
func Restored(rec *bond.Record, obs *bond.Observed, p Plan) bool {
	if rec.Phase != bond.PhaseReady || !obs.SandboxAlive || obs.Bond == nil || !obs.Bond.Up {
		return false
	}
	changed := false
	if rec.Restoring && !hasFinding(p, OnBond) {
		rec.Restoring, changed = false, true
		if l := rec.Learned; l != nil {
			l.Settings.Lose(obs.Bond.Settings)
			l.Lost = stillLost(unrecordedBefore(l, true), unrecordedNow(rec, obs))
		}
	}
	for i := range rec.Members {
		m, o := &rec.Members[i], &obs.Members[i]
		if m.Restoring && o.Location == bond.InPod && o.Link.Master == obs.Bond.Index && !hasFinding(p, i) {
			m.Restoring, changed = false, true
			if m.Settings != nil {
				m.Settings.Lose(o.Settings)
				m.SettingsOf = o.Link.Index
			}
		}
	}
	return changed
}

// hasFinding reports whether the plan has a finding that something of a member or of the bond is not restored.
func hasFinding(p Plan, member int) bool {
	return slices.ContainsFunc(p.Findings, func(f Finding) bool {
		if f.Member != member {
			return false
		}
		switch f.Code {
		case BondMissing, NameTaken, LinkDown, SettingsChanged, MTUDiffers, NotRestored, Unread, NotEnslaved, LeaseUnconfirmed, LeaseLost:
			return true
		}
		return false
	})
}
