package plan

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// Contestable names the requested setting that an action restores; empty for an action about structure, which is
// enforced always.
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

// Adopt makes what another writer insists on the desired state, in place of what the action would restore. It
// returns the value that was adopted, empty for "absent".
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
