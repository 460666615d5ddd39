package link

import (
	"errors"
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

	bondSlaveActorPortPrio = 10 // IFLA_BOND_SLAVE_ACTOR_PORT_PRIO, since Linux 6.18, in mode 802.3ad only
	bondSlaveActorChurn    = 11 // IFLA_BOND_SLAVE_AD_CHURN_ACTOR_STATE, since Linux 7.2, likewise
	bondSlavePartnerChurn  = 12 // IFLA_BOND_SLAVE_AD_CHURN_PARTNER_STATE, likewise
)

// churnNames are the kernel's churn states by number (churn_state_t).
var churnNames = []bond.Churn{bond.ChurnMonitoring, bond.Churned, bond.ChurnNone}

// membership has the attributes of a link as a member of a bond.
type membership struct {
	miiUp   bool
	port    *bond.Port
	options bond.MemberOptions
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
			m.options.QueueID = new(nl.NativeEndian().Uint16(v))
		case typ == bondSlavePrio && len(v) == 4:
			m.options.Prio = new(int32(nl.NativeEndian().Uint32(v)))
		case typ == bondSlaveActorPortPrio && len(v) == 2:
			m.options.ActorPortPrio = new(nl.NativeEndian().Uint16(v))
		case typ == bondSlaveActorChurn && len(v) == 1 && int(v[0]) < len(churnNames):
			port.ActorChurn = churnNames[v[0]]
		case typ == bondSlavePartnerChurn && len(v) == 1 && int(v[0]) < len(churnNames):
			port.PartnerChurn = churnNames[v[0]]
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
	if a.ActorPortPrio != nil {
		data.AddRtAttr(bondSlaveActorPortPrio, nl.Uint16Attr(*a.ActorPortPrio))
	}
	req.AddData(info)
	if _, err := c.do(req, 0); err != nil {
		return err
	}
	now, err := c.byIndex(d.Index, false)
	if err != nil {
		return err
	}
	have := now.member.options
	return errors.Join(
		verifyMemberOption("queueId", "3.14", a.QueueID, have.QueueID),
		verifyMemberOption("prio", "6.0", a.Prio, have.Prio),
		verifyMemberOption("actorPortPrio", "6.18", a.ActorPortPrio, have.ActorPortPrio))
}

// verifyMemberOption compares what was set with what the kernel reports now.
func verifyMemberOption[T uint16 | int32](name, since string, want, have *T) error {
	switch {
	case want == nil || have != nil && *have == *want:
		return nil
	case have == nil:
		return unsupported(name, since)
	default:
		return fmt.Errorf("%s was set to %d but is %d", name, *want, *have)
	}
}
