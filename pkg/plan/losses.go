package plan

import (
	"net/netip"
	"slices"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// MarkLosses marks in the record what must be restored before anything is learned again. A bond that is missing, new or
// down has lost routes and settings, and a member outside the pod or with a new link has lost its settings. It reports
// whether the record changed.
func MarkLosses(rec *bond.Record, obs *bond.Observed) bool {
	if rec.Phase != bond.PhaseReady || !obs.SandboxAlive {
		return false
	}
	changed := false
	b := obs.Bond
	// In set-up a chained plugin may set the bond down and up: vrf does (cycle_netdev). What it leaves is intended.
	wasDown := b != nil && b.WasDown && !rec.InSetup()
	if !rec.Restoring && (b == nil || !b.Up || wasDown || rec.BondIndex != 0 && rec.BondIndex != b.Index) {
		rec.Restoring, changed = true, true
	}
	for i := range rec.Members {
		if m := &rec.Members[i]; !m.Restoring && !m.Unidentified && (obs.Members[i].Location != bond.InPod || replaced(m, &obs.Members[i])) {
			m.Restoring, changed = true, true
		}
	}
	return changed
}

// replaced reports whether a member in the pod has another link than the one whose settings are recorded. mlx5 may create
// it again there, and the loss in between need not have been observed.
func replaced(m *bond.Member, o *bond.ObservedMember) bool {
	return m.SettingsOf != 0 && m.SettingsOf != o.Link.Index
}

// NetworkMissing reports whether a bond that is as its set-up left it lacks recorded addresses or routes: another writer
// deleted them, or the bond was down for a moment.
func NetworkMissing(rec *bond.Record, obs *bond.Observed) bool {
	b := obs.Bond
	if !seemsComplete(rec, b) {
		return false
	}
	noAddress := func(p netip.Prefix) bool { return !slices.Contains(b.Addresses, p) }
	noRoute := func(r bond.Route) bool { return !HasRoute(b, r) }
	if slices.ContainsFunc(rec.Addresses, func(a bond.Address) bool { return noAddress(a.Prefix) }) || slices.ContainsFunc(rec.Routes, noRoute) {
		return true
	}
	l := rec.Learned
	return l != nil && (slices.ContainsFunc(l.Addresses, noAddress) || slices.ContainsFunc(l.Routes, noRoute))
}

// AllRoutesMissing reports whether a bond that is as its set-up left it lacks all recorded routes, as after it was set
// down and up. Another writer mostly deletes some.
func AllRoutesMissing(rec *bond.Record, obs *bond.Observed) bool {
	b, routes := obs.Bond, rec.Routes
	if rec.Learned != nil {
		routes = slices.Concat(routes, rec.Learned.Routes)
	}
	return seemsComplete(rec, b) && len(routes) > 0 &&
		!slices.ContainsFunc(routes, func(r bond.Route) bool { return HasRoute(b, r) })
}

// seemsComplete reports whether nothing but addresses and routes can be missing of a bond.
func seemsComplete(rec *bond.Record, b *bond.ObservedBond) bool {
	return rec.Phase == bond.PhaseReady && !rec.Restoring && b != nil && b.Up && b.Unread == "" && rec.BondIndex == b.Index
}
