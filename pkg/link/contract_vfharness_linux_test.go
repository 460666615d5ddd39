package link_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// testCards are the PFs whose VFs a harness moves to pods, one PF after the other.
type testCards struct {
	model topology.Model
	pfs   []string // PCI addresses
	used  int
	// changed: the changes do not all end with the pod. unbound has functions without driver.
	changed bool
	unbound map[bond.PCIAddress]bool
}

// Apply records changes that do not end with the pod.
func (h *realHarness) Apply(ctx context.Context, r *bond.Record, a plan.Action) error {
	err := h.Kernel.Apply(ctx, r, a)
	if _, is := a.(plan.RestoreVF); is && err == nil {
		h.cards.changed = true
	}
	return err
}

func (h *realHarness) netdevOf(pci string) (string, error) {
	return kit.Netdev(h.t.Context(), bond.PCIAddress(pci))
}

// addVF moves the next VF into a pod.
func (h *realHarness) addVF(path, name string) (bond.PCIAddress, *bond.VF, error) {
	pf, number := h.cards.pfs[h.cards.used%len(h.cards.pfs)], h.cards.used/len(h.cards.pfs)
	h.cards.used++
	pci, err := kit.VF(pf, number)
	if err != nil {
		return "", nil, err
	}
	dev, err := kit.Netdev(h.t.Context(), pci)
	if err != nil {
		return "", nil, err
	}
	var place *bond.VF // as ADD records it
	if h.cards.model.VFSettings {
		place = &bond.VF{PF: bond.PCIAddress(pf), Number: number}
	}
	return pci, place, h.MoveToNetns(linktest.Host, dev, path, name)
}

// setPF sets the PF of a VF in a pod up or down.
func (h *realHarness) setPF(path, name string, up bool) error {
	out, err := h.IP(path, "-d", "-o", "link", "show", "dev", name)
	if err != nil {
		return err
	}
	for _, pf := range h.cards.pfs {
		vfs, err := filepath.Glob(filepath.Join(kit.PCIDevices, pf, "virtfn*"))
		if err != nil {
			return err
		}
		for _, vf := range vfs {
			pci, err := os.Readlink(vf)
			if err != nil {
				return err
			}
			if !slices.Contains(strings.Fields(string(out)), filepath.Base(pci)) {
				continue
			}
			return h.SetPF(pf, up)
		}
	}
	return fmt.Errorf("%s is no VF of ours: %s", name, out)
}

func (h *realHarness) PFOf(pci bond.PCIAddress) (string, error) {
	to, err := os.Readlink(filepath.Join(kit.PCIDevices, string(pci), "physfn"))
	return filepath.Base(to), err
}

func (h *realHarness) UnbindVF(pci bond.PCIAddress) error {
	h.cards.unbound[pci] = true
	return h.Links.UnbindVF(pci)
}

func (h *realHarness) BindVF(pci bond.PCIAddress) error {
	delete(h.cards.unbound, pci)
	return h.Links.BindVF(pci)
}

// LoseCarrier resets the function without its driver's knowledge.
func (h *realHarness) LoseCarrier(pci bond.PCIAddress) error {
	h.cards.changed = true
	return kit.WriteSysfs(filepath.Join(kit.PCIDevices, string(pci), "reset"), "1")
}

func (h *realHarness) SetNumVFs(pf string, n int) error {
	h.cards.changed = true
	return h.Links.SetNumVFs(pf, n)
}

func (h *realHarness) SetVF(pci bond.PCIAddress, s bond.VFSettings) error {
	h.cards.changed = true
	return h.Links.SetVF(pci, s)
}

// BindPF sets the PF up as well, as an administrator does.
func (h *realHarness) BindPF(pf string) error {
	return errors.Join(h.Links.BindPF(pf), h.SetPF(pf, true))
}
