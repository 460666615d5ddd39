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

// withPF runs a change that involves the PF's single mailbox, which can take seconds. It changes one VF of a PF at a
// time, so that a slow PF occupies one worker. Other changes wait for one that has just begun. Otherwise they fail as
// busy and are retried, which needs another observation.
func (k *Kernel) withPF(ctx context.Context, vf *bond.VF, change func() error) error {
	if vf == nil {
		return change()
	}
	unlock, err := k.pfs.lock(ctx, vf.PF)
	if err != nil {
		return err
	}
	defer unlock()
	return change()
}

// vfOf returns the record's data about a VF; nil if it is not a member.
func vfOf(r *bond.Record, pci bond.PCIAddress) *bond.VF {
	if i := r.MemberByPCI(pci); pci != "" && i >= 0 {
		return r.Members[i].VF
	}
	return nil
}

// restoreVF restores a VF's settings on its PF, one after the other, and reads them again: drivers report success for
// settings that they then ignore.
func (k *Kernel) restoreVF(ctx context.Context, a plan.RestoreVF) error {
	now, err := k.sysfs.vfOf(a.VF.PF, a.VF.Number)
	if err != nil {
		return err
	}
	if now != a.PCI {
		return fmt.Errorf("%w: VF %d of PF %s is %s, not %s", bond.ErrStale, a.VF.Number, a.VF.PF, now, a.PCI)
	}
	host, err := k.openHost(ctx)
	if err != nil {
		return err
	}
	defer host.close()
	pf, d, err := k.pfDevice(host, a.PCI, false)
	if err != nil {
		return err
	}
	if pf != a.VF.PF {
		return fmt.Errorf("%w: %s is a VF of PF %s, not of %s", bond.ErrStale, a.PCI, pf, a.VF.PF)
	}
	vf, err := k.primeVFMAC(host, a)
	if err != nil {
		return err
	}
	err = host.setVF(d, a)
	k.vfTables.forget(pf)
	if err != nil {
		return err
	}
	if err = host.verifyVF(d, a); err != nil || vf == nil {
		return err
	}
	if vf, err = host.byIndex(vf.Index, false); err != nil {
		return err
	}
	return host.ensureMAC(vf, *a.Settings.MAC)
}

// primeVFMAC sets the MAC on the VF's own netdev, which is down, before it is set on the PF. Once a PF has set a MAC,
// it rejects every other MAC of the VF, with igbvf even the same one until a reset. The VF then sends with an address
// that the PF drops. If the PF rejects the MAC now, because it has set another one before, that is not an error. It
// returns nil if there is no MAC to set or no netdev in the host.
func (k *Kernel) primeVFMAC(host *conn, a plan.RestoreVF) (*device, error) {
	if a.Settings.MAC == nil || a.Settings.MAC.IsZero() {
		return nil, nil
	}
	name, err := k.sysfs.netdevOf(a.PCI)
	if errors.Is(err, bond.ErrGone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	d, err := host.byName(name, false)
	if err != nil {
		return nil, err
	}
	if d.PCI != a.PCI {
		return nil, fmt.Errorf("%w: %s is %q now", bond.ErrStale, name, d.PCI)
	}
	if d.Up {
		if err := host.setUp(d, false); err != nil {
			return nil, err
		}
	}
	if d.MAC == *a.Settings.MAC {
		return d, nil
	}
	if err := host.setMAC(d, *a.Settings.MAC); err != nil && !rejectedByPF(err) {
		return nil, fmt.Errorf("VF's netdev %s: %w", name, err)
	}
	return d, nil
}

// checkInactive returns bond.ErrStale if the link is the active member of a bond.
func (c *conn) checkInactive(d *device) error {
	if d.Master == 0 {
		return nil
	}
	b, err := c.byIndex(d.Master, false)
	if err == nil && b.Kind == "bond" && activeMember(b) == d.Index {
		err = fmt.Errorf("%w: %s is the active member of %s now", bond.ErrStale, d.Name, b.Name)
	}
	return err
}

// ensureMAC sets a link's MAC, a VF's only if it has another: the PF may reject even the same one. If the PF rejects
// the MAC because it has set one itself, the VF gets that one when it is reset, by setting it up and down. The MAC
// after that decides. A VF that is attached before it has its MAC would give a bond the wrong one.
func (c *conn) ensureMAC(d *device, mac bond.MAC) error {
	if d.PCI != "" && d.MAC == mac {
		return nil
	}
	err := c.setMAC(d, mac)
	if err == nil && d.PCI != "" {
		return c.verifyMAC(d, mac)
	}
	if err == nil || d.PCI == "" || d.Up || !rejectedByPF(err) {
		return err
	}
	if reset := errors.Join(c.setUp(d, true), c.setUp(d, false)); reset != nil {
		return reset
	}
	now, gone := c.byIndex(d.Index, false)
	if gone != nil {
		return gone
	}
	if now.MAC != mac {
		if errors.Is(err, unix.EADDRNOTAVAIL) { // igbvf returns it, too, while its PF is being reset
			err = fmt.Errorf("%w: %w", bond.ErrBusy, err)
		}
		return fmt.Errorf("MAC %s: %w; its PF may have set %s, which it has after a reset; trust the VF on its PF (ip link set PF vf N trust on), set the MAC there (mac), or remove that one", mac, err, now.MAC)
	}
	return nil
}

// verifyMAC reads a VF's MAC after its driver has reported it as set: iavf before Linux 5.18 does so before its PF has
// accepted the MAC, and keeps the old one if the PF rejects it.
func (c *conn) verifyMAC(d *device, mac bond.MAC) error {
	now, err := c.byIndex(d.Index, false)
	if err != nil || now.MAC == mac {
		return err
	}
	return fmt.Errorf("%s was set and %s still has %s: its PF has not accepted it yet, or has rejected it; if it stays so, trust the VF on its PF (ip link set PF vf N trust on) or set the MAC there (mac)",
		mac, d.Name, now.MAC)
}

// rejectedByPF reports whether a PF rejected its VF's MAC (igbvf and ixgbevf, iavf).
func rejectedByPF(err error) bool {
	return errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES)
}

// setVF sends one request per setting; the error names all that were rejected.
func (c *conn) setVF(pf *device, a plan.RestoreVF) error {
	var errs []error
	for _, s := range vfAttrs(a.VF.Number, a.Settings) {
		list := nl.NewRtAttr(unix.IFLA_VFINFO_LIST, nil)
		list.AddRtAttr(nl.IFLA_VF_INFO, nil).AddRtAttr(s.typ, s.data)
		if err := c.setLink(pf.Index, list); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.what, classify(err)))
		}
	}
	return errors.Join(errs...)
}

// verifyVF reads what was set. What the driver does not report cannot be verified and counts as set.
func (c *conn) verifyVF(pf *device, a plan.RestoreVF) error {
	again, err := c.byIndex(pf.Index, true)
	if err != nil {
		return err
	}
	have, err := again.vfSettings(a.VF.Number)
	if err != nil {
		return err
	}
	if wrong := a.Settings.NotMet(have); !wrong.Empty() {
		return fmt.Errorf("PF %s accepted the settings of VF %d but ignored some: want %s, it has %s", pf.Name, a.VF.Number, wrong, have)
	}
	return nil
}

func errNotPF(d *device, pf bond.PCIAddress) error {
	return fmt.Errorf("%w: %s is %q now, not PF %s", bond.ErrGone, d.Name, d.PCI, pf)
}
