package link_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// cards are the PFs whose VFs a world hands out, one PF after the other.
type cards struct {
	pfs  []string // PCI addresses
	used int
	// changed: more was done to them than what ends with the pod. unbound is what has no driver.
	changed bool
	unbound map[bond.PCIAddress]bool
}

// Apply notes what does not end with the pod.
func (h *hands) Apply(ctx context.Context, r *bond.Record, a plan.Action) error {
	err := h.Kernel.Apply(ctx, r, a)
	if _, is := a.(plan.RestoreVF); is && err == nil {
		h.cards.changed = true
	}
	return err
}

const pciDevices = "/sys/bus/pci/devices"

func write(path, text string) error { return os.WriteFile(path, []byte(text), 0o200) }

// netdevOf is the name that a PCI function's netdev has in the host. A driver needs a
// moment to make it.
func (h *hands) netdevOf(pci string) (string, error) {
	deadline := time.Now().Add(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		found, err := filepath.Glob(filepath.Join(pciDevices, pci, "net", "*"))
		if len(found) == 1 {
			return filepath.Base(found[0]), nil
		}
		if err != nil || time.Now().After(deadline) {
			return "", fmt.Errorf("PCI function %s has netdevs %v: %w", pci, found, err)
		}
		select {
		case <-tick.C:
		case <-h.t.Context().Done():
			return "", h.t.Context().Err()
		}
	}
}

// addVF puts the next VF into a pod.
func (h *hands) addVF(path, name string) (bond.PCIAddress, *bond.VF, error) {
	pf, number := h.cards.pfs[h.cards.used%len(h.cards.pfs)], h.cards.used/len(h.cards.pfs)
	h.cards.used++
	vf, err := os.Readlink(filepath.Join(pciDevices, pf, fmt.Sprintf("virtfn%d", number)))
	if err != nil {
		return "", nil, err
	}
	pci := filepath.Base(vf)
	dev, err := h.netdevOf(pci)
	if err != nil {
		return "", nil, err
	}
	place := &bond.VF{PF: bond.PCIAddress(pf), Number: number}
	return bond.PCIAddress(pci), place, h.MoveToNetns(linktest.Host, dev, path, name)
}

// setPF sets the PF of a VF in a pod up or down.
func (h *hands) setPF(path, name, state string) error {
	out, err := h.ip(path, "-d", "-o", "link", "show", "dev", name)
	if err != nil {
		return err
	}
	for _, pf := range h.cards.pfs {
		vfs, err := filepath.Glob(filepath.Join(pciDevices, pf, "virtfn*"))
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
			dev, err := h.netdevOf(pf)
			if err != nil {
				return err
			}
			return h.set(linktest.Host, dev, state)
		}
	}
	return fmt.Errorf("%s is no VF of ours: %s", name, out)
}

func (h *hands) UnbindVF(pci bond.PCIAddress) error {
	h.cards.unbound[pci] = true
	return write(filepath.Join(pciDevices, string(pci), "driver", "unbind"), string(pci))
}

func (h *hands) BindVF(pci bond.PCIAddress) error {
	delete(h.cards.unbound, pci)
	return write("/sys/bus/pci/drivers/igbvf/bind", string(pci))
}

// LoseCarrier resets the function behind its driver's back.
func (h *hands) LoseCarrier(pci bond.PCIAddress) error {
	h.cards.changed = true
	return write(filepath.Join(pciDevices, string(pci), "reset"), "1")
}

func (h *hands) SetNumVFs(pf string, n int) error {
	h.cards.changed = true
	file := filepath.Join(pciDevices, pf, "sriov_numvfs")
	if err := write(file, "0"); err != nil || n == 0 {
		return err
	}
	return write(file, fmt.Sprint(n))
}

func (h *hands) UnbindPF(pf string) error {
	return write(filepath.Join(pciDevices, pf, "driver", "unbind"), pf)
}

// BindPF sets the PF up as well, as an administrator does.
func (h *hands) BindPF(pf string) error {
	if err := write("/sys/bus/pci/drivers/igb/bind", pf); err != nil {
		return err
	}
	dev, err := h.netdevOf(pf)
	if err != nil {
		return err
	}
	return h.set(linktest.Host, dev, "up")
}
