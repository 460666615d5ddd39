package linktest

import (
	"fmt"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// Behaviour of drivers other than igbvf.

// LateMACs makes the VFs' driver of a PF report success for a MAC that its PF has not accepted yet, as iavf does before
// Linux 5.18. DeliverMACs ends the wait.
func (f *Fake) LateMACs(pfName string, late bool) error {
	return f.onPF(pfName, func(p *pf) { p.lateMACs = late })
}

// DeliverMACs makes the PFs accept the MACs that were requested so far, or reject them: those VFs keep their old ones.
// The link's netns hears of an accepted one as of any change. A bond does not take its active member's new MAC.
func (f *Fake) DeliverMACs(accept bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.runMonitors()
	for _, p := range f.pfs {
		for _, v := range p.vfs {
			if v.pending != "" && v.link != nil && accept {
				v.card, v.link.mac = v.pending, v.pending
				v.reported()
			}
			v.pending = ""
		}
	}
}

// ensureMAC is setMAC, verified as pkg/link does.
func (d *netdev) ensureMAC(m bond.MAC) error {
	if err := d.setMAC(m); err != nil || d.mac == m {
		return err
	}
	return fmt.Errorf("%s was set and %s still has %s: its PF has not accepted it yet, or has rejected it; if it stays so, trust the VF on its PF", m, d.name, d.mac)
}

// BindVFIn binds a VF to its driver, which creates its link in a netns: mlx5 does so in that of the VF's devlink
// instance, which `devlink dev reload` can move. The link has the kernel's name.
func (f *Fake) BindVFIn(pci bond.PCIAddress, path string) error {
	return f.onVF(pci, func(v *vf) error {
		s := f.spaces[path]
		if s == nil {
			return fmt.Errorf("netns %q: %w", path, bond.ErrGone)
		}
		v.bindIn(s)
		return nil
	})
}

// BindVFLate binds a VF to its driver, which creates no link until BindVF is called.
func (f *Fake) BindVFLate(pci bond.PCIAddress) error {
	return f.onVF(pci, func(v *vf) error { v.probing = true; return nil })
}
