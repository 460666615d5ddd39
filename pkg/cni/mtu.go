package cni

import (
	"fmt"
	"strconv"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netconf"
)

// chooseMTU returns the requested MTU, if every link and its PF can have it. If none is requested, it returns the
// largest that all can have, or 0 if none is known.
func chooseMTU(requested int, found *bond.MemberResult) (int, error) {
	least, owner := 0, ""
	bound := func(mtu int, of string) {
		if mtu != 0 && (least == 0 || mtu < least) {
			least, owner = mtu, of
		}
	}
	for i := range found.Links {
		l := &found.Links[i]
		bound(l.Member.Original.MTU, "the link "+l.Member.String())
		if l.PF != nil {
			bound(l.PF.MTU, fmt.Sprintf("PF %s, which owns the link %s", l.PF.Name, &l.Member))
		}
	}
	switch {
	case requested == 0:
		return least, nil
	case least != 0 && requested > least:
		return 0, netconf.Invalid(fieldMTU, strconv.Itoa(requested), fmt.Sprintf("at most %d, which is the MTU of %s", least, owner))
	}
	return requested, nil
}
