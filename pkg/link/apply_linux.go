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

// Apply makes one change. If the action names a link, that link is read first. The error matches bond.ErrStale if it is
// another one by now, and bond.ErrGone if it no longer exists.
func (k *Kernel) Apply(ctx context.Context, r *bond.Record, a plan.Action) error {
	if err := k.apply(ctx, r, a); err != nil {
		return fmt.Errorf("%s: %w", a, classify(err))
	}
	return nil
}

func (k *Kernel) apply(ctx context.Context, r *bond.Record, a plan.Action) error {
	switch a := a.(type) {
	case plan.RestoreVF:
		return k.whileOwned(r, a.PCI, func() error {
			return k.withPF(ctx, &a.VF, func() error { return k.restoreVF(ctx, a) })
		})
	case plan.MoveToPod:
		return k.whileOwned(r, a.Link.PCI, func() error {
			return k.withPF(ctx, vfOf(r, a.Link.PCI), func() error { return k.moveToPod(ctx, r, a) })
		})
	case plan.MoveToHost:
		return k.withVFLock(a.Link.PCI, func() error { return k.moveToHost(ctx, r, a) })
	case plan.CreateBond:
		return k.createBond(ctx, r, a)
	case plan.SetOptions:
		return k.onBond(ctx, r, a.Bond, func(c *conn, b *device) error { return c.setOptions(b, a.Options) })
	case plan.DeleteBond:
		return k.onBond(ctx, r, a.Bond, (*conn).deleteBond)
	case plan.Enslave:
		return k.withVFLockInPod(a.Link.PCI, func() error { return k.onBoth(ctx, r, a.Link, a.Bond, (*conn).enslave) })
	case plan.SetActive:
		return k.onBoth(ctx, r, a.Link, a.Bond, (*conn).setActive)
	case plan.SetMemberOptions:
		return k.onBoth(ctx, r, a.Link, a.Bond, func(c *conn, d, b *device) error { return c.setMemberOptions(d, b, a) })
	case plan.SetUpper:
		return k.onBond(ctx, r, a.Bond, func(c *conn, b *device) error { return c.setUpper(b, a.Upper) })
	case plan.AddAddress:
		return k.onBond(ctx, r, a.Bond, func(c *conn, b *device) error { return c.addAddress(b, a.Prefix, a.DAD) })
	case plan.DelAddress:
		return k.onBond(ctx, r, a.Bond, func(c *conn, b *device) error { return c.delAddress(b, a.Prefix) })
	case plan.AddRoute:
		return k.onBond(ctx, r, a.Bond, func(c *conn, b *device) error { return c.addRoute(b, a.Route) })
	case plan.DeleteRoute:
		return k.onBond(ctx, r, a.Bond, func(c *conn, b *device) error { return c.deleteRoute(b, a.Route) })
	case plan.Announce:
		return k.onBond(ctx, r, a.Bond, func(c *conn, b *device) error { return c.announce(b, a.Addresses) })
	default:
		return k.applyToLink(ctx, r, a)
	}
}

// applyToLink makes the changes that are possible on every kind of link.
func (k *Kernel) applyToLink(ctx context.Context, r *bond.Record, a plan.Action) error {
	var ref plan.LinkRef
	var change func(*conn, *device) error
	switch a := a.(type) {
	case plan.Rename:
		ref, change = a.Link, func(c *conn, d *device) error { return c.rename(d, a) }
	case plan.SetMAC:
		ref, change = a.Link, func(c *conn, d *device) error {
			if a.Inactive {
				if err := c.checkInactive(d); err != nil {
					return err
				}
			}
			return c.ensureMAC(d, a.MAC)
		}
	case plan.SetMTU:
		ref, change = a.Link, func(c *conn, d *device) error { return c.setMTU(d, a.MTU) }
	case plan.SetUp:
		ref, change = a.Link, func(c *conn, d *device) error {
			if d.Up { // enslaving sets a link up
				return nil
			}
			return c.setUp(d, true)
		}
	case plan.SetDown:
		ref, change = a.Link, func(c *conn, d *device) error { return c.setUp(d, false) }
	case plan.Bounce:
		ref, change = a.Link, func(c *conn, d *device) error { return errors.Join(c.setUp(d, false), c.setUp(d, true)) }
	case plan.Release:
		ref, change = a.Link, func(c *conn, d *device) error { return c.setMaster(d, 0) }
	case plan.SetLinkSettings:
		ref, change = a.Link, func(c *conn, d *device) error { return c.setLinkSettings(d, a.Change) }
	default:
		return fmt.Errorf("%w: the kernel has no action %T", bond.ErrUnsupported, a)
	}
	if a.Subject() == plan.OnBond {
		return k.onBond(ctx, r, ref, change)
	}
	locked := func() error { return k.onLink(ctx, r, ref, change) }
	if ref.Location == bond.InHost {
		return k.whileOwned(r, ref.PCI, locked)
	}
	return k.withVFLockInPod(ref.PCI, locked)
}

func (k *Kernel) onLink(ctx context.Context, r *bond.Record, ref plan.LinkRef, change func(*conn, *device) error) error {
	c, err := k.open(ctx, r, ref.Location)
	if err != nil {
		return err
	}
	defer c.close()
	if ref.Index == plan.NewBond {
		// No other link gets its ifindex, so it is read only if the change fails. The second attempt reports why.
		ref.Index = r.BondIndex
		if ref.Index != 0 && change(c, &device{Link: bond.Link{Index: ref.Index, Name: ref.Name, Kind: "bond"}}) == nil {
			return nil
		}
	}
	d, err := c.verified(ref)
	if err != nil {
		return err
	}
	return change(c, d)
}

func (k *Kernel) onBond(ctx context.Context, r *bond.Record, ref plan.LinkRef, change func(*conn, *device) error) error {
	return k.onLink(ctx, r, ref, func(c *conn, b *device) error {
		if err := isBond(b); err != nil {
			return err
		}
		return change(c, b)
	})
}

func (k *Kernel) onBoth(ctx context.Context, r *bond.Record, ref, to plan.LinkRef, change func(c *conn, d, b *device) error) error {
	return k.onBond(ctx, r, to, func(c *conn, b *device) error {
		d, err := c.verified(ref)
		if err != nil {
			return err
		}
		return change(c, d, b)
	})
}

// verified reads the link of ref and rejects it if it is another one.
func (c *conn) verified(ref plan.LinkRef) (*device, error) {
	if ref.Location != c.place {
		return nil, fmt.Errorf("%w: the action is about %s %s, not %s", bond.ErrStale, ref.Name, ref.Location, c.place)
	}
	d, err := c.byIndex(ref.Index, false)
	if err != nil {
		return nil, err
	}
	if d.PCI != ref.PCI {
		return nil, fmt.Errorf("%w: ifindex %d %s is %s with PCI address %q, not %q", bond.ErrStale, ref.Index, c.place, d.Name, d.PCI, ref.PCI)
	}
	if ref.PCI == "" && ref.PermMAC != "" && d.PermMAC != ref.PermMAC {
		return nil, fmt.Errorf("%w: ifindex %d %s is %s with permanent MAC %q, not %q", bond.ErrStale, ref.Index, c.place, d.Name, d.PermMAC, ref.PermMAC)
	}
	if ref.Serial == 0 {
		return d, nil
	}
	if d.Serial, err = c.serialOf(d); err == nil && d.Serial != ref.Serial {
		err = fmt.Errorf("%w: ifindex %d %s is %s with serial %d, not %d", bond.ErrStale, ref.Index, c.place, d.Name, d.Serial, ref.Serial)
	}
	return d, err
}

// mayMove rejects the move of a virtual link to another netns unless its serial was checked.
func mayMove(d *device) error {
	if d.PCI == "" && d.Serial == 0 {
		return fmt.Errorf("%w: %s (ifindex %d, kind %q) is not proven to be the recorded link", bond.ErrStale, d.Name, d.Index, d.Kind)
	}
	return nil
}

func isBond(d *device) error {
	if d.Kind != "bond" {
		return fmt.Errorf("%w: %s (ifindex %d) is a link of kind %q, not a bond", bond.ErrStale, d.Name, d.Index, d.Kind)
	}
	return nil
}

// setLink changes attributes of a link. The kernel applies those of one request one after the other. It stops at the
// first one that it rejects, and does not undo the others (do_setlink).
func (c *conn) setLink(index int, attrs ...*nl.RtAttr) error {
	req := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	req.AddData(msg)
	for _, a := range attrs {
		req.AddData(a)
	}
	_, err := c.do(req, 0)
	return err
}

func (c *conn) setUp(d *device, up bool) error {
	req := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index, msg.Change = int32(d.Index), unix.IFF_UP
	if up {
		msg.Flags = unix.IFF_UP
	}
	req.AddData(msg)
	_, err := c.do(req, 0)
	return err
}

func (c *conn) setMAC(d *device, m bond.MAC) error {
	if m.Bytes() == nil {
		return fmt.Errorf("%q is not a MAC address", m)
	}
	return c.setLink(d.Index, nl.NewRtAttr(unix.IFLA_ADDRESS, m.Bytes()))
}

func (c *conn) setMTU(d *device, mtu int) error {
	return c.setLink(d.Index, nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(mtu))))
}

func (c *conn) setMaster(d *device, master int) error {
	return c.setLink(d.Index, nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(master))))
}
