package cni

import (
	"fmt"
	"strconv"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/netconf"
)

// chooseMTU is the MTU that is asked for, if every link and the PF that owns it can have it; the
// greatest that all can have where none is asked, 0 where nothing is known of any.
func chooseMTU(asked int, found *bond.MemberResult) (int, error) {
	least, whose := 0, ""
	bound := func(mtu int, of string) {
		if mtu != 0 && (least == 0 || mtu < least) {
			least, whose = mtu, of
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
	case asked == 0:
		return least, nil
	case least != 0 && asked > least:
		return 0, netconf.Invalid(fieldMTU, strconv.Itoa(asked), fmt.Sprintf("at most %d, which is the MTU of %s", least, whose))
	}
	return asked, nil
}
