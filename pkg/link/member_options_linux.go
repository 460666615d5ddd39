package link

import (
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// Attributes of a member in its bond (linux/if_link.h).
const (
	bondSlaveState        = 1 // IFLA_BOND_SLAVE_STATE; 0 is BOND_STATE_ACTIVE
	bondSlaveMIIStatus    = 2 // IFLA_BOND_SLAVE_MII_STATUS; 0 is BOND_LINK_UP
	bondSlaveQueueID      = 5 // IFLA_BOND_SLAVE_QUEUE_ID
	bondSlaveAggregatorID = 6 // IFLA_BOND_SLAVE_AD_AGGREGATOR_ID, in mode 802.3ad only
	bondSlavePartnerState = 8 // IFLA_BOND_SLAVE_AD_PARTNER_OPER_PORT_STATE, likewise
	bondSlavePrio         = 9 // IFLA_BOND_SLAVE_PRIO, since Linux 6.0
)

// membership has the attributes of a link as a member of a bond.
type membership struct {
	miiUp   bool
	port    *bond.Port
	queueID *uint16
	prio    *int32
}

func (m *membership) parse(data []byte) error {
	var port bond.Port
	return eachAttr(data, func(typ uint16, v []byte) error {
		switch {
		case typ == bondSlaveState && len(v) == 1:
			port.Active = v[0] == 0
		case typ == bondSlaveAggregatorID && len(v) == 2:
			port.Aggregator, m.port = int(number(v)), &port
		case typ == bondSlavePartnerState && len(v) == 2:
			port.Partner = bond.PortState(number(v))
		case typ == bondSlaveMIIStatus && len(v) == 1:
			m.miiUp = v[0] == 0
		case typ == bondSlaveQueueID && len(v) == 2:
			m.queueID = new(nl.NativeEndian().Uint16(v))
		case typ == bondSlavePrio && len(v) == 4:
			m.prio = new(int32(nl.NativeEndian().Uint32(v)))
		}
		return nil
	})
}

// setMemberOptions sets the options of a member and reads them again: kernels silently ignore unknown ones.
func (c *conn) setMemberOptions(d, b *device, a plan.SetMemberOptions) error {
	if d.Master != b.Index {
		return fmt.Errorf("%w: %s is not a member of %s", bond.ErrStale, d.Name, b.Name)
	}
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(d.Index)
	req.AddData(msg)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(unix.IFLA_INFO_SLAVE_KIND, nl.NonZeroTerminated("bond"))
	data := info.AddRtAttr(unix.IFLA_INFO_SLAVE_DATA, nil)
	if a.QueueID != nil {
		data.AddRtAttr(bondSlaveQueueID, nl.Uint16Attr(*a.QueueID))
	}
	if a.Prio != nil {
		data.AddRtAttr(bondSlavePrio, nl.Uint32Attr(uint32(*a.Prio)))
	}
	req.AddData(info)
	if _, err := c.do(req, 0); err != nil {
		return err
	}
	now, err := c.byIndex(d.Index, false)
	if err != nil {
		return err
	}
	if want, have := a.Prio, now.member.prio; want != nil && have == nil {
		return fmt.Errorf("%w: prio: this kernel does not support it; Linux 6.0 and newer do", bond.ErrUnsupported)
	} else if want != nil && *have != *want {
		return fmt.Errorf("prio was set to %[2]d but is %[1]d", *have, *want)
	}
	if want, have := a.QueueID, now.member.queueID; want != nil && (have == nil || *have != *want) {
		return fmt.Errorf("queueId was set to %d but is not reported", *want)
	}
	return nil
}
