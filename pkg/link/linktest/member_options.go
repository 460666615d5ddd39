package linktest

import (
	"fmt"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// txQueues is the module's default (BOND_DEFAULT_TX_QUEUES).
const txQueues = 16

// setMemberOptions is bond_slave_changelink: the queue first, which stays set if the priority is rejected.
func (d *netdev) setMemberOptions(queueID *uint16, prio *int32) error {
	b := d.master.bond
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
	if prio == nil {
		return nil
	}
	if !b.usesPrimary() {
		return fmt.Errorf("mode %s has no priorities: %w", b.opts.Mode(), bond.ErrUnsupported)
	}
	d.prio = *prio
	if b.primary == nil {
		d.master.selectActive()
	}
	return nil
}

// SetMemberOptions changes the queue ID or the priority of a bond's member, as `ip link set type
// bond_slave` does.
func (f *Fake) SetMemberOptions(path, name string, queueID *uint16, prio *int32) error {
	return f.onNamedLink(path, name, func(d *netdev) error {
		if d.master == nil {
			return fmt.Errorf("%s is in no bond: %w", name, bond.ErrUnsupported)
		}
		return d.setMemberOptions(queueID, prio)
	})
}
