package plan

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// Contestable returns the name of the requested setting that an action restores. It is empty for an action about
// structure, which is always enforced.
func Contestable(a Action) string {
	switch a := a.(type) {
	case AddAddress:
		return "address " + a.Prefix.String()
	case AddRoute:
		return "route " + a.Route.String()
	case SetMTU:
		if a.Subject() == OnBond {
			return "the MTU"
		}
	case SetMAC:
		if a.Subject() == OnBond {
			return "the MAC"
		}
	}
	return ""
}

// Adopt makes the value on which another writer insists the desired one, instead of what the action would restore. It
// returns the adopted value, empty for "absent".
func Adopt(rec *bond.Record, obs *bond.Observed, a Action) string {
	switch a := a.(type) {
	case AddAddress:
		rec.Addresses = slices.DeleteFunc(rec.Addresses, func(x bond.Address) bool { return x.Prefix == a.Prefix })
		if l := rec.Learned; l != nil {
			l.Addresses = slices.DeleteFunc(l.Addresses, func(x netip.Prefix) bool { return x == a.Prefix })
		}
	case AddRoute:
		same := func(r bond.Route) bool {
			return r == a.Route || r.String() == a.Route.String() && r.Priority == a.Route.Priority
		}
		rec.Routes = slices.DeleteFunc(rec.Routes, same)
		if l := rec.Learned; l != nil {
			l.Routes = slices.DeleteFunc(l.Routes, same)
		}
	case SetMTU:
		rec.Spec.MTU = obs.Bond.MTU
		return fmt.Sprint(obs.Bond.MTU)
	case SetMAC:
		rec.Spec.MAC = obs.Bond.MAC
		return string(obs.Bond.MAC)
	}
	return ""
}
