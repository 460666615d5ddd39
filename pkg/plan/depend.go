package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// Kind returns what an action changes on its member or on the bond, for retries: a failed action delays only actions of
// the same kind, and those that depend on it. Each option, address and route has a kind of its own.
func Kind(a Action) string {
	switch a := a.(type) {
	case SetOptions:
		return "option " + a.Options.String()
	case AddAddress:
		return "address " + a.Prefix.String()
	case AddRoute:
		return fmt.Sprintf("route %s metric %d", a.Route, a.Route.Priority)
	case DelAddress:
		return "no address " + a.Prefix.String()
	case DeleteRoute:
		return fmt.Sprintf("no route %s metric %d", a.Route, a.Route.Priority)
	case Rename:
		if a.Up {
			return ActionName(a) + " of a link that is up" // so that it is not delayed once the link is down
		}
		return ActionName(a)
	default:
		return ActionName(a)
	}
}

// dependsOn reports whether an action is useless or harmful without an earlier one of the same plan that failed or was
// left out.
func dependsOn(a, failed Action) bool {
	if is[CreateBond](failed) {
		return true
	}
	if a.Subject() != failed.Subject() {
		_, enslaves := a.(Enslave)
		return enslaves && failed.Subject() == OnBond && blocksMembers(failed)
	}
	switch a := a.(type) {
	case MoveToPod:
		return is[RestoreVF](failed) // a VF whose settings are not restored is not attached
	case MoveToHost:
		return is[SetMAC](failed) || is[SetMTU](failed)
	case SetDown:
		return is[Release](failed)
	case Rename, SetOptions: // the primary is set by its link
		return is[MoveToPod](failed)
	case SetMAC:
		return is[MoveToPod](failed) || is[Release](failed) || is[SetDown](failed)
	case Enslave:
		return is[RestoreVF](failed) || is[MoveToPod](failed) || is[Release](failed) || is[SetDown](failed) || is[SetMAC](failed) || takesTempName(failed)
	case SetMemberOptions:
		return is[Enslave](failed)
	case AddAddress:
		d, deletes := failed.(DelAddress)
		return deletes && d.Prefix.Addr() == a.Prefix.Addr()
	case AddRoute:
		return is[SetUp](failed) || routeNeeds(a.Route, failed)
	case Announce:
		return is[SetUp](failed)
	}
	return false
}

func is[T Action](a Action) bool {
	_, ok := a.(T)
	return ok
}

// blocksMembers: the kernel does not change these options of a bond that has members, so they come first.
func blocksMembers(failed Action) bool {
	o, ok := failed.(SetOptions)
	if !ok {
		return false
	}
	for name := range o.Options {
		if bond.LookupOption(name).Changeable&bond.NoMembers != 0 {
			return true
		}
	}
	return false
}

// takesTempName: a primary that must not become active again is enslaved under another name.
func takesTempName(failed Action) bool {
	r, ok := failed.(Rename)
	return ok && strings.HasPrefix(r.To, bond.TempNamePrefix)
}

// routeNeeds: a route needs the address or the route that makes its gateway reachable, its own source address, and the
// deletion of the route that it replaces.
func routeNeeds(r bond.Route, failed Action) bool {
	switch f := failed.(type) {
	case AddAddress:
		return r.Src == f.Prefix.Addr() || r.Gateway.IsValid() && f.Prefix.Contains(r.Gateway)
	case AddRoute:
		return r.Gateway.IsValid() && !f.Route.Gateway.IsValid() && f.Route.Dst.Contains(r.Gateway)
	case DeleteRoute:
		return replaces(r, f.Route)
	}
	return false
}

// isNews reports whether an action changes something for neighbours, so that an Announce may follow.
func isNews(a Action) bool {
	return is[AddAddress](a) || is[SetMAC](a) && a.Subject() == OnBond
}

// Unblocked returns the actions that may be tried: those that skip does not skip, and that do not depend on a skipped
// one.
func Unblocked(actions []Action, skip func(Action) bool) []Action {
	var due, left []Action
	for i, a := range actions {
		forSkipped := slices.ContainsFunc(actions[i+1:], func(by Action) bool { return skip(by) && onlyFor(a, by) })
		switch {
		case skip(a), forSkipped, Blocked(a, left), Pointless(a, due):
			left = append(left, a)
		default:
			due = append(due, a)
		}
	}
	return due
}

// onlyFor reports whether an action is useless or harmful unless a later one may be tried: nothing is removed without its
// replacement, and the primary is set by its link only before that is enslaved.
func onlyFor(a, later Action) bool {
	switch a.(type) {
	case DelAddress, DeleteRoute:
		return dependsOn(later, a)
	case SetOptions:
		return a.Subject() != OnBond && a.Subject() == later.Subject() && (takesTempName(later) || is[Enslave](later))
	}
	return false
}

// Blocked reports whether an action depends on one of those that failed or were left out.
func Blocked(a Action, left []Action) bool {
	return slices.ContainsFunc(left, func(f Action) bool { return dependsOn(a, f) })
}

// Pointless reports whether an action is an Announce, and no action before it changes something for neighbours.
func Pointless(a Action, before []Action) bool {
	return is[Announce](a) && !slices.ContainsFunc(before, isNews)
}
