package plan

import (
	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// unrecordedBefore returns what other writers had on the bond before its last loss and the record does not have.
// restoring: the loss was since anything was learned.
func unrecordedBefore(l *bond.Learned, restoring bool) (before bond.Unrecorded) {
	if l.Lost != nil {
		before = *l.Lost
	}
	if restoring {
		before.Addresses = max(before.Addresses, l.AddressesLeft)
		before.Routes = max(before.Routes, l.RoutesLeft)
		before.SpecialRoutes = max(before.SpecialRoutes, l.SpecialRoutes)
	}
	return before
}

// unrecordedNow returns the same of the observed bond. All of its routes count: of too many it is not known who added them.
func unrecordedNow(rec *bond.Record, obs *bond.Observed) (now bond.Unrecorded) {
	l := &learner{rec: rec, obs: obs}
	_, now.Addresses = l.extraAddresses()
	now.Routes = len(obs.Bond.Routes) + obs.Bond.RoutesLeft
	now.SpecialRoutes = obs.Bond.SpecialRoutes
	return now
}

// stillLost returns what was there before and is missing now; nil if nothing is.
func stillLost(before, now bond.Unrecorded) *bond.Unrecorded {
	var lost bond.Unrecorded
	if before.Addresses > now.Addresses {
		lost.Addresses = before.Addresses
	}
	if before.Routes > now.Routes {
		lost.Routes = before.Routes
	}
	if before.SpecialRoutes > now.SpecialRoutes {
		lost.SpecialRoutes = before.SpecialRoutes
	}
	if lost == (bond.Unrecorded{}) {
		return nil
	}
	return &lost
}

// reportNotRecorded reports what other writers had on the bond and the record does not have, until it is there again.
// Meanwhile all else is learned and restored as usual.
func (b *builder) reportNotRecorded() {
	l := b.rec.Learned
	if l == nil || b.obs.Bond.Unread != "" || !b.rec.Restoring && l.Lost == nil {
		return
	}
	now := unrecordedNow(b.rec, b.obs)
	lost := stillLost(unrecordedBefore(l, b.rec.Restoring), now)
	if lost == nil {
		return
	}
	if n := lost.Routes; n > 0 {
		b.report(OnBond, NotRecorded, "other writers had %d routes on the bond; more than %d are not recorded, so they are not restored", n, bond.MaxLearnedRoutes)
	}
	if n := lost.SpecialRoutes; n > 0 {
		b.report(OnBond, NotRecorded, "%d of %d routes of other writers are missing and cannot be restored: routes with a source prefix, TOS, encapsulation or gateway of the other family are not recorded", n-now.SpecialRoutes, n)
	}
	if n := lost.Addresses; n > 0 {
		b.report(OnBond, NotRecorded, "other writers had %d addresses on the bond; more than %d are not recorded, so %d are not restored", n+len(l.Addresses), bond.MaxLearnedAddresses, n-now.Addresses)
	}
}
