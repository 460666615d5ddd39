package kit

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// PCIDevices is where sysfs has the PCI functions.
const PCIDevices = "/sys/bus/pci/devices"

// Netdev returns the name of a PCI function's netdev in the host, and waits for it: a driver needs a moment to create
// it, and the kernel to move it back from a deleted netns.
func Netdev(ctx context.Context, pci bond.PCIAddress) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		found, err := filepath.Glob(filepath.Join(PCIDevices, string(pci), "net", "*"))
		if len(found) == 1 {
			return filepath.Base(found[0]), nil
		}
		if err != nil {
			return "", err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", fmt.Errorf("PCI function %s has netdevs %v: %w", pci, found, ctx.Err())
		}
	}
}

// WriteSysfs writes a file of sysfs.
func WriteSysfs(path, text string) error { return os.WriteFile(path, []byte(text), 0o200) }

// UnbindVF unbinds a VF from its driver.
func (Links) UnbindVF(pci bond.PCIAddress) error { return unbind(string(pci)) }

// BindVF binds a VF to its driver.
func (Links) BindVF(pci bond.PCIAddress) error {
	return WriteSysfs("/sys/bus/pci/drivers/igbvf/bind", string(pci))
}

// SetNumVFs removes the VFs of a PF and makes n new ones.
func (Links) SetNumVFs(pf string, n int) error {
	file := filepath.Join(PCIDevices, pf, "sriov_numvfs")
	if err := WriteSysfs(file, "0"); err != nil || n == 0 {
		return err
	}
	return WriteSysfs(file, fmt.Sprint(n))
}

// UnbindPF unbinds a PF from its driver.
func (Links) UnbindPF(pf string) error { return unbind(pf) }

// BindPF binds a PF to its driver, which makes no VFs.
func (Links) BindPF(pf string) error { return WriteSysfs("/sys/bus/pci/drivers/igb/bind", pf) }

func unbind(pci string) error {
	return WriteSysfs(filepath.Join(PCIDevices, pci, "driver", "unbind"), pci)
}

// VF returns the PCI address of a PF's VF.
func VF(pf string, number int) (bond.PCIAddress, error) {
	path, err := os.Readlink(filepath.Join(PCIDevices, pf, fmt.Sprintf("virtfn%d", number)))
	return bond.PCIAddress(filepath.Base(path)), err
}
