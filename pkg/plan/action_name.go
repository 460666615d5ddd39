package plan

import (
	"fmt"
	"slices"
	"strings"
)

// actions has each action once.
var actions = []Action{
	CreateBond{}, SetOptions{}, DeleteBond{}, Rename{}, SetMAC{}, SetMTU{}, SetUp{}, SetDown{}, Bounce{}, Enslave{},
	Release{}, SetMemberOptions{}, SetActive{}, RestoreVF{}, MoveToPod{}, MoveToHost{}, SetLinkSettings{}, SetUpper{},
	AddAddress{}, DelAddress{}, AddRoute{}, DeleteRoute{}, Announce{},
}

// ActionName returns the name of an action without its details. The names are label values of a metric.
func ActionName(a Action) string { return strings.TrimPrefix(fmt.Sprintf("%T", a), "plan.") }

// ActionNames returns all names, sorted.
func ActionNames() (all []string) {
	for _, a := range actions {
		all = append(all, ActionName(a))
	}
	slices.Sort(all)
	return all
}
