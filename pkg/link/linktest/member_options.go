package linktest

import (
	"fmt"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// txQueues is the module's default (BOND_DEFAULT_TX_QUEUES).
const txQueues = 16

// memberOptions are those that the kernel reports: the LACP priority of a port in mode 802.3ad only.
func (d *netdev) memberOptions() bond.MemberOptions {
	o := bond.MemberOptions{QueueID: new(d.queueID), Prio: new(d.prio)}
	if d.master.bond.opts.Mode() == bond.Mode8023AD {
		o.ActorPortPrio = new(d.portPrio)
	}
	return o
}

// setMemberOptions is bond_slave_changelink: the queue first, which stays set if a priority is rejected.
func (d *netdev) setMemberOptions(o bond.MemberOptions) error {
	b, queueID, prio := d.master.bond, o.QueueID, o.Prio
	if queueID != nil {
		if *queueID > txQueues {
			return fmt.Errorf("%s has %d queues, no %d", d.master.name, txQueues, *queueID)
		}
		for _, m := range b.members {
			if m != d && *queueID != 0 && m.queueID == *queueID {
				return fmt.Errorf("queue %d is that of %s", *queueID, m.name)
			}
		}
		d.queueID = *queueID
	}
	if prio != nil {
		if !b.usesPrimary() {
			return fmt.Errorf("mode %s has no priorities: %w", b.opts.Mode(), bond.ErrUnsupported)
		}
		d.prio = *prio
		if b.primary == nil {
			d.master.selectActive()
		}
	}
	if o.ActorPortPrio == nil {
		return nil
	}
	if b.opts.Mode() != bond.Mode8023AD {
		return fmt.Errorf("mode %s has no LACP priorities: %w", b.opts.Mode(), bond.ErrUnsupported)
	}
	d.portPrio = *o.ActorPortPrio
	return nil
}

// SetMemberOptions changes options of a bond's member, as `ip link set type bond_slave` does.
func (f *Fake) SetMemberOptions(path, name string, o bond.MemberOptions) error {
	return f.onNamedLink(path, name, func(d *netdev) error {
		if d.master == nil {
			return fmt.Errorf("%s is in no bond: %w", name, bond.ErrUnsupported)
		}
		return d.setMemberOptions(o)
	})
}
