package link

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// rename gives d a name that no other link in the netns has. An alternative name counts as
// taken even if it is the link's own, so it is removed first.
func (c *conn) rename(d *device, a plan.Rename) error {
	if d.Name == a.To {
		return nil
	}
	if err := c.removeAltName(d, a.To); err != nil {
		return err
	}
	err := c.setName(d, a.To)
	if errors.Is(err, unix.EBUSY) && d.Up {
		return c.renameDown(d, a)
	}
	return err
}

// renameDown renames a link that is up on a kernel before 6.2, which requires that it is down (dev_change_name). The
// link is set up again whatever happens.
func (c *conn) renameDown(d *device, a plan.Rename) error {
	if !a.Interrupt {
		return fmt.Errorf("%w: %s is up, and this kernel renames a link only while it is down (before Linux 6.2); it may carry traffic, so it is not set down for its name: it is renamed once it is down (ip link set %s down), and set up again",
			bond.ErrBusy, d.Name, d.Name)
	}
	if err := c.checkInactive(d); err != nil {
		return err
	}
	if err := c.setUp(d, false); err != nil {
		return err
	}
	return errors.Join(c.setName(d, a.To), c.setUp(d, true))
}

func (c *conn) setName(d *device, name string) error {
	err := c.setLink(d.Index, nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%w: another link %s has the name %s: %w", bond.ErrStale, c.place, name, err)
	}
	return err
}

// removeAltName removes an alternative name from a link; it succeeds if there is none.
func (c *conn) removeAltName(d *device, name string) error {
	if d.Name == name || !d.named(name) {
		return nil
	}
	req := nl.NewNetlinkRequest(unix.RTM_DELLINKPROP, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(d.Index)
	req.AddData(msg)
	list := nl.NewRtAttr(unix.IFLA_PROP_LIST|unix.NLA_F_NESTED, nil)
	list.AddRtAttr(unix.IFLA_ALT_IFNAME, nl.ZeroTerminated(name))
	req.AddData(list)
	if _, err := c.do(req, 0); err != nil {
		return fmt.Errorf("remove alternative name %s from %s: %w", name, d.Name, err)
	}
	return nil
}
