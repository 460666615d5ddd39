package linktest

import (
	"fmt"
	"slices"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// AddRDMA gives a VF an RDMA device, in the host. The node's RDMA devices belong to one netns each.
func (f *Fake) AddRDMA(pci bond.PCIAddress, name string) error {
	return f.onVF(pci, func(v *vf) error { v.rdma, v.rdmaIn = name, f.spaces[Host]; return nil })
}

// MoveRDMA moves a VF's RDMA device into a netns, as the rdma plugin does. It does not follow the VF's link.
func (f *Fake) MoveRDMA(pci bond.PCIAddress, path string) error {
	return f.onVF(pci, func(v *vf) error {
		if v.rdmaIn == nil || f.spaces[path] == nil {
			return fmt.Errorf("RDMA device of %s, netns %s: %w", pci, path, bond.ErrGone)
		}
		v.rdmaIn = f.spaces[path]
		return nil
	})
}

func (f *Fake) observeRDMA(pod *space, pci bond.PCIAddress) *bond.RDMADevices {
	d := &bond.RDMADevices{}
	switch v := f.vfByPCI(pci); v.rdmaIn {
	case nil:
	case pod:
		d.InPod = v.rdma
	case f.spaces[Host]:
		d.InHost = v.rdma
	}
	return d
}

// AddQdisc adds a queueing discipline to a link, as tc(8) does: clsact, or another kind at the root.
func (f *Fake) AddQdisc(path, name, kind string) error {
	return f.onNamedLink(path, name, func(d *netdev) error {
		tc := &d.settings.TC
		if kind == "clsact" {
			*tc = append(*tc, kind)
			return nil
		}
		*tc = slices.Insert(*tc, 0, "root qdisc "+kind)
		return nil
	})
}

// DeleteQdisc deletes what AddQdisc added.
func (f *Fake) DeleteQdisc(path, name, kind string) error {
	return f.onNamedLink(path, name, func(d *netdev) error {
		d.settings.TC = slices.DeleteFunc(d.settings.TC, func(tc string) bool { return tc == kind || tc == "root qdisc "+kind })
		return nil
	})
}
