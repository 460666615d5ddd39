package link

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

const iflaNewIfindex = 49

// moveToPod sets a link's MAC and MTU while it is still in the host. Then it moves and renames it in one request. The
// kernel accepts MAC and MTU in that request, too, but applies them after the move (do_setlink). If the driver rejected
// the MAC, the VF would be in the pod with a wrong one.
func (k *Kernel) moveToPod(ctx context.Context, r *bond.Record, a plan.MoveToPod) error {
	host, err := k.openHost(ctx)
	if err != nil {
		return err
	}
	defer host.close()
	d, err := host.verified(a.Link)
	if err != nil {
		return err
	}
	if err = mayMove(d); err != nil {
		return err
	}
	if d.Master != 0 {
		return fmt.Errorf("%w: %s is enslaved in the host to ifindex %d", bond.ErrStale, d.Name, d.Master)
	}
	pod, err := k.openPod(ctx, r.Sandbox)
	if err != nil {
		return err
	}
	defer pod.close()
	if err := pod.nameFits(a.Name); err != nil {
		return err
	}
	if d.Up {
		if err := host.setUp(d, false); err != nil {
			return err
		}
	}
	if err := host.setAttrs(d, &a); err != nil {
		return err
	}
	if err := host.removeTakenAltNames(d, a.Name, pod); err != nil {
		return err
	}
	index := 0
	if d.PCI == "" {
		index = a.Index
	}
	return host.move(d, pod, a.Name, index)
}

// nameFits is called before a move, because the kernel would move the link and then fail to
// rename it if its name in the old netns is free in the new one.
func (c *conn) nameFits(name string) error {
	if err := bond.ValidateIfName(name); err != nil {
		return err
	}
	return c.nameFree(name)
}

// nameFree returns bond.ErrStale if a link there has the name, its own or an alternative one.
func (c *conn) nameFree(name string) error {
	switch d, err := c.byName(name, false); {
	case errors.Is(err, bond.ErrGone):
		return nil
	case err != nil:
		return err
	default:
		return fmt.Errorf("%w: %s already has a link %s (ifindex %d, kind %q)", bond.ErrStale, c.ns.Path(), name, d.Index, d.Kind)
	}
}

// setAttrs sets a link's MAC, MTU and alias; empty values and 0 change nothing. An MTU that the driver rejects is left
// out.
func (c *conn) setAttrs(d *device, a *plan.MoveToPod) error {
	if a.MAC != "" {
		if err := c.ensureMAC(d, a.MAC); err != nil {
			return fmt.Errorf("set MAC %s (it has %s): %w", a.MAC, d.MAC, err)
		}
	}
	if a.MTU != 0 && a.MTU != d.MTU {
		_ = c.setMTU(d, a.MTU) // the PF may permit less than before; what the link needs in the pod is verified there
	}
	if a.Alias != "" && a.Alias != d.Alias {
		if err := c.setLink(d.Index, nl.NewRtAttr(unix.IFLA_IFALIAS, []byte(a.Alias))); err != nil {
			return fmt.Errorf("set alias: %w", err)
		}
	}
	return nil
}

// removeTakenAltNames removes those alternative names of a link that would prevent its move: the kernel rejects a move
// if one is in use in the other netns, and a rename to the link's own.
func (c *conn) removeTakenAltNames(d *device, name string, to *conn) error {
	for _, alt := range d.altNames {
		if alt != name {
			err := to.nameFree(alt)
			if err == nil {
				continue
			}
			if !errors.Is(err, bond.ErrStale) {
				return err
			}
		}
		if err := c.removeAltName(d, alt); err != nil {
			return err
		}
	}
	return nil
}

// move moves a link to another netns with a name and, unless index is 0, with that ifindex. It fails if either is
// taken.
func (c *conn) move(d *device, to *conn, name string, index int) error {
	attrs := []*nl.RtAttr{
		nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(to.ns.Fd()))),
		nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)),
	}
	if index != 0 {
		attrs = append(attrs, nl.NewRtAttr(iflaNewIfindex, nl.Uint32Attr(uint32(index))))
	}
	return c.setLink(d.Index, attrs...)
}

// anyName makes the kernel choose the first free ethN (dev_alloc_name), as drivers do.
const anyName = "eth%d"

// moveToHost moves a link to the host, with a name of the kernel's choice if its own is
// taken there: a VF with another name is better than one that is deleted with the pod.
func (k *Kernel) moveToHost(ctx context.Context, r *bond.Record, a plan.MoveToHost) error {
	if a.Link.Location != bond.InPod {
		return fmt.Errorf("%w: it is not in the pod but %s", bond.ErrStale, a.Link.Location)
	}
	return k.onLink(ctx, r, a.Link, func(pod *conn, d *device) error {
		if err := mayMove(d); err != nil {
			return err
		}
		host, err := k.openHost(ctx)
		if err != nil {
			return err
		}
		defer host.close()
		name := a.Name
		if err := host.nameFits(name); errors.Is(err, bond.ErrStale) {
			name = anyName
		} else if err != nil {
			return err
		}
		if d.Up {
			if err := pod.setUp(d, false); err != nil {
				return err
			}
		}
		if err := pod.removeTakenAltNames(d, name, host); err != nil {
			return err
		}
		return pod.moveBack(d, host, name, a.Index)
	})
}

// moveBack restores the host ifindex of a virtual link from the host if that is free.
func (c *conn) moveBack(d *device, host *conn, name string, index int) error {
	if d.PCI == "" && index != 0 {
		err := c.move(d, host, name, index)
		if !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EEXIST) {
			return err
		}
	}
	return c.move(d, host, name, 0)
}
