package link

import (
	"context"
	"errors"
	"fmt"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// LinkByName is the link in the sandbox that has a name, its own or an alternative one;
// nil when the name is free. bond.ErrGone means that the sandbox is.
func (k *Kernel) LinkByName(ctx context.Context, s bond.Sandbox, name string) (*bond.Link, error) {
	pod, err := k.openPod(ctx, s)
	if err != nil {
		return nil, err
	}
	defer pod.close()
	switch d, err := pod.byName(name, false); {
	case errors.Is(err, bond.ErrGone):
		return nil, nil
	case err != nil:
		return nil, err
	default:
		return &d.Link, nil
	}
}

// FindMembers notes the identity and the present state of links that are to become
// members, found by name in the sandbox or, with inHost, in the host. Nothing is changed.
// VF.Settings are all that the PF tells now. The error has one line a link that cannot be
// a member and matches bond.ErrGone when one was not found or the sandbox is gone.
func (k *Kernel) FindMembers(ctx context.Context, s bond.Sandbox, names []string, inHost bool) ([]bond.Member, error) {
	place := bond.InPod
	if inHost {
		place = bond.InHost
	}
	c, err := k.open(ctx, &bond.Record{Sandbox: s}, place)
	if err != nil {
		return nil, err
	}
	defer c.close()
	all, err := c.dump()
	if err != nil {
		return nil, err
	}
	host := c
	if !inHost {
		if host, err = k.openHost(ctx); err != nil {
			return nil, err
		}
		defer host.close()
	}
	var errs []error
	members := make([]bond.Member, len(names))
	for i, name := range names {
		d := all.find(func(d *device) bool { return d.named(name) })
		if err = canBeMember(d, name, place, all); err != nil {
			errs = append(errs, err)
			continue
		}
		members[i] = memberOf(d, place)
		if members[i].VF, err = k.vfState(host, d.PCI); err != nil {
			errs = append(errs, fmt.Errorf("link %s (%s): %w", name, d.PCI, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return members, nil
}

func canBeMember(d *device, name string, place bond.Place, all devices) error {
	switch {
	case d == nil:
		return fmt.Errorf("%w: link %s: there is none %s; check links in the network config and the pod's other attachments", bond.ErrGone, name, place)
	case d.Kind == "bond":
		return fmt.Errorf("link %s (ifindex %d): it is a bond itself; name the links that the bond is to have", name, d.Index)
	case d.loopback:
		return fmt.Errorf("link %s: it is the loopback interface", name)
	case d.MAC == "":
		return fmt.Errorf("link %s (ifindex %d, kind %q): it has no Ethernet address and cannot be bonded", name, d.Index, d.Kind)
	case d.Master != 0:
		master := all.nameOf(d.Master)
		return fmt.Errorf("link %s (ifindex %d): it is enslaved to %s (ifindex %d) already; name another link or release it", name, d.Index, master, d.Master)
	}
	return nil
}

func memberOf(d *device, place bond.Place) bond.Member {
	return bond.Member{
		Name: d.Name, PCI: d.PCI, Index: d.Index, PermMAC: d.PermMAC, MAC: d.MAC,
		Before: bond.Before{Name: d.Name, MAC: d.MAC, MTU: d.MTU, Up: d.Up, Alias: d.Alias, InHost: place == bond.InHost},
	}
}

// vfState is a VF's place on its PF and its settings there; nil for a link that is no VF, and for
// a VF whose PF is out of sight.
func (k *Kernel) vfState(host *conn, pci bond.PCIAddress) (*bond.VF, error) {
	if pci == "" {
		return nil, nil
	}
	if _, err := k.sysfs.pfOf(pci); errors.Is(err, bond.ErrGone) {
		return nil, nil
	}
	pf, d, err := k.pfDevice(host, pci, true)
	if err != nil {
		return nil, fmt.Errorf("ask its PF: %w", err)
	}
	number, err := k.sysfs.numberOf(pf, pci)
	if err != nil {
		return nil, err
	}
	settings, err := d.vfSettings(number)
	if err != nil {
		return nil, err
	}
	return &bond.VF{PF: pf, Number: number, Settings: settings}, nil
}
