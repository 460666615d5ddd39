package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"reflect"
	"slices"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// Learn records what other writers configured on the bond and its members. It returns their changes, for the log, and
// whether the record changed, which it does also when a new link's ethtool settings are read for the first time.
// Nothing is learned from a bond that is not as its set-up left it. What was requested is learned only during set-up,
// or if only links are enforced.
func Learn(rec *bond.Record, obs *bond.Observed) (changes []string, changed bool) {
	if rec.Phase != bond.PhaseReady || rec.Restoring || obs.Bond == nil || !obs.Bond.Up || obs.Bond.Unread != "" {
		return nil, false
	}
	l := &learner{rec: rec, obs: obs}
	if rec.LearnsRequested() {
		l.mac()
		l.addresses()
		l.routes()
	}
	if rec.LearnsRequested() || rec.Spec.DerivedMTU {
		l.mtu()
	}
	l.extras()
	l.members()
	return l.changes, l.changed || len(l.changes) > 0
}

type learner struct {
	rec     *bond.Record
	obs     *bond.Observed
	changes []string
	changed bool // although no other writer changed anything
}

func (l *learner) logf(format string, args ...any) {
	l.changes = append(l.changes, fmt.Sprintf(format, args...))
}

func (l *learner) mtu() {
	spec, have := &l.rec.Spec, l.obs.Bond.MTU
	if spec.MTU != 0 && have != spec.MTU {
		l.logf("MTU %d instead of %d", have, spec.MTU)
		spec.MTU = have
	}
}

// mac is learned only in modes with one MAC, from a bond with all its members: an empty one has a random MAC.
func (l *learner) mac() {
	spec, b := &l.rec.Spec, l.obs.Bond
	if !spec.Options.SharesMAC() || spec.MAC == "" || b.MAC == spec.MAC || b.Options.Mode() != spec.Options.Mode() {
		return
	}
	for i := range l.obs.Members {
		if m := &l.obs.Members[i]; m.Location != bond.InPod || m.Link.Master != b.Index {
			return
		}
	}
	l.logf("MAC %s instead of %s", b.MAC, spec.MAC)
	spec.MAC = b.MAC
}

func (l *learner) addresses() {
	remaining := slices.DeleteFunc(slices.Clone(l.rec.Addresses), func(a bond.Address) bool {
		removed := !slices.Contains(l.obs.Bond.Addresses, a.Prefix)
		if removed {
			l.logf("no address %s", a.Prefix)
		}
		return removed
	})
	if len(remaining) != len(l.rec.Addresses) {
		l.rec.Addresses = remaining
	}
}

func (l *learner) routes() {
	remaining := slices.DeleteFunc(slices.Clone(l.rec.Routes), func(r bond.Route) bool {
		removed := !HasRoute(l.obs.Bond, r)
		if removed {
			l.logf("no route %s", r)
		}
		return removed
	})
	if len(remaining) != len(l.rec.Routes) {
		l.rec.Routes = remaining
	}
}

// HasRoute reports whether the bond has a route that satisfies r: the kernel may have completed it.
func HasRoute(b *bond.ObservedBond, r bond.Route) bool {
	return slices.ContainsFunc(b.Routes, func(have bond.Route) bool { return satisfies(have, r) })
}

// extras learns what was not requested: settings, a master, and more addresses and routes.
func (l *learner) extras() {
	b := l.obs.Bond
	var before bond.LinkSettings
	if l.rec.Learned != nil {
		before = l.rec.Learned.Settings
	}
	now := bond.Learned{Settings: before.Learn(b.Settings)}
	now.Addresses, now.AddressesLeft = l.extraAddresses()
	now.Routes, now.RoutesLeft = l.extraRoutes()
	now.SpecialRoutes = b.SpecialRoutes
	for _, p := range b.Addresses {
		if _, found := prefixRoute(b, p); !found && hasPrefixRoute(b, p) {
			now.NoPrefixRoute = append(now.NoPrefixRoute, p)
		}
	}
	if u := b.Upper; u != nil {
		now.Upper = new(*u)
		now.Upper.BondIndex = b.Index
	}
	old := l.rec.Learned
	if old != nil && leftVRF(old.Upper, b) { // the kernel is deleting its routes, and they are not to be restored
		now.Routes = slices.DeleteFunc(now.Routes, func(r bond.Route) bool { return table(r) == old.Upper.Table })
	}
	if old != nil && old.Lost != nil {
		now.Lost = stillLost(*old.Lost, unrecordedNow(l.rec, l.obs))
	}
	now.OnTop, now.OnTopOf = linksOnTop(old, b)
	if old != nil && slices.Equal(old.OnTop, now.OnTop) && old.OnTopOf == now.OnTopOf && old.Settings.Equal(now.Settings) && slices.Equal(old.Addresses, now.Addresses) && old.AddressesLeft == now.AddressesLeft &&
		slices.Equal(old.NoPrefixRoute, now.NoPrefixRoute) && reflect.DeepEqual(old.Routes, now.Routes) && old.RoutesLeft == now.RoutesLeft && old.SpecialRoutes == now.SpecialRoutes &&
		reflect.DeepEqual(old.Upper, now.Upper) && reflect.DeepEqual(old.Lost, now.Lost) {
		return
	}
	if old != nil {
		l.logExtras(old, &now)
	}
	l.rec.Learned, l.changed = &now, true
	if old == nil {
		l.logf("first observation")
	}
}

func (l *learner) logExtras(old, now *bond.Learned) {
	if d := now.Settings.Diff(old.Settings); !d.Empty() {
		l.logf("settings %s", d)
	}
	if !slices.Equal(now.Settings.Neigh, old.Settings.Neigh) {
		l.logf("neighbour sysctls %v", now.Settings.Neigh)
	}
	if named := onlyNamed(&old.Settings, &now.Settings); named != "" {
		l.logf("settings%s", named)
	}
	if !slices.Equal(old.Addresses, now.Addresses) {
		l.logf("further addresses %v", now.Addresses)
	}
	if now.AddressesLeft != old.AddressesLeft {
		l.logf("%d addresses more than the %d that are kept", now.AddressesLeft, bond.MaxLearnedAddresses)
	}
	if !slices.Equal(old.NoPrefixRoute, now.NoPrefixRoute) {
		l.logf("no route of the kernel's for %v", now.NoPrefixRoute)
	}
	switch {
	case now.RoutesLeft > 0 && now.RoutesLeft != old.RoutesLeft:
		l.logf("%d further routes, more than %d, of which none is kept", now.RoutesLeft, bond.MaxLearnedRoutes)
	case !reflect.DeepEqual(old.Routes, now.Routes) || old.RoutesLeft != now.RoutesLeft:
		l.logf("further routes %v", now.Routes)
	}
	if now.SpecialRoutes != old.SpecialRoutes {
		l.logf("%d routes that cannot be recorded", now.SpecialRoutes)
	}
	if !slices.Equal(old.OnTop, now.OnTop) || old.OnTopOf != now.OnTopOf {
		l.logf("links on top of the bond %v", now.OnTop)
	}
	switch {
	case now.Upper == nil && old.Upper != nil:
		l.logf("no master")
	case now.Upper != nil && (old.Upper == nil || old.Upper.Name != now.Upper.Name || old.Upper.Kind != now.Upper.Kind):
		l.logf("master %s (%s)", now.Upper.Name, now.Upper.Kind)
	}
}

// Route protocols of linux/rtnetlink.h. Those above static belong to daemons, which restore their routes themselves.
const (
	protoRedirect, protoKernel, protoStatic = 1, 2, 4
)

// hasPrefixRoute reports whether the kernel adds a route to the main table for an address of the bond. In a VRF it is
// in the VRF's table.
func hasPrefixRoute(b *bond.ObservedBond, p netip.Prefix) bool {
	return !p.IsSingleIP() && (b.Upper == nil || b.Upper.Kind != "vrf")
}

// prefixRoute returns the route in the main table that the kernel added for an address.
func prefixRoute(b *bond.ObservedBond, p netip.Prefix) (bond.Route, bool) {
	i := slices.IndexFunc(b.Routes, func(r bond.Route) bool {
		return madeByKernel(r) && r.Dst == p.Masked()
	})
	if i < 0 {
		return bond.Route{}, false
	}
	return b.Routes[i], true
}

// extraRoutes returns the static routes that were not requested; if there are too many, only their number.
func (l *learner) extraRoutes() (routes []bond.Route, left int) {
	for _, r := range l.obs.Bond.Routes {
		if !learnable(r) {
			continue
		}
		if slices.ContainsFunc(l.rec.Routes, func(want bond.Route) bool { return satisfies(r, want) }) {
			continue
		}
		if left++; left <= bond.MaxLearnedRoutes {
			routes = append(routes, r)
		}
	}
	if left += l.obs.Bond.RoutesLeft; left > bond.MaxLearnedRoutes {
		return nil, left
	}
	slices.SortFunc(routes, func(a, b bond.Route) int {
		return cmp.Or(cmp.Compare(table(a), table(b)), cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.String(), b.String()))
	})
	return routes, 0
}

func (l *learner) members() {
	for i := range l.rec.Members {
		m, o := &l.rec.Members[i], &l.obs.Members[i]
		if m.Restoring || o.Location != bond.InPod || o.Link.Master != l.obs.Bond.Index {
			continue
		}
		if m.Settings == nil {
			m.Settings, m.SettingsOf = new(o.Settings.Clone()), o.Link.Index
			l.logf("%s: first observation", m.Name)
			continue
		}
		now := m.Settings.Learn(o.Settings)
		if !m.Settings.Equal(now) || m.SettingsOf == 0 {
			named := onlyNamed(m.Settings, &now)
			if diff := now.Diff(*m.Settings); named != "" || !diff.Empty() || !slices.Equal(now.Neigh, m.Settings.Neigh) {
				l.logf("%s: settings %s, neighbour sysctls %v%s", m.Name, diff, now.Neigh, named)
			}
			*m.Settings, m.SettingsOf, l.changed = now, o.Link.Index, true
		}
		l.rdma(m, o)
	}
}
