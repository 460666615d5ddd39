package cni

import (
	"fmt"
	"strconv"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netconf"
)

// minIPv6MTU is the kernel's IPV6_MIN_MTU. A link with a smaller MTU has no IPv6.
const minIPv6MTU = 1280

// checkMTU returns an error if a bond with that MTU, 0 if it is not known, cannot have one of the addresses.
func checkMTU(mtu int, addresses []bond.Address) error {
	for _, a := range addresses {
		if a.Prefix.Addr().Is6() && mtu != 0 && mtu < minIPv6MTU {
			return netconf.Invalid(fieldMTU, strconv.Itoa(mtu), fmt.Sprintf("at least %d for the IPv6 address %s", minIPv6MTU, a.Prefix))
		}
	}
	return nil
}

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
