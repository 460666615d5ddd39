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
func UnbindVF(pci bond.PCIAddress) error {
	return WriteSysfs(filepath.Join(PCIDevices, string(pci), "driver", "unbind"), string(pci))
}

// BindVF binds a VF to its driver.
func BindVF(pci bond.PCIAddress) error {
	return WriteSysfs("/sys/bus/pci/drivers/igbvf/bind", string(pci))
}

// VF returns the PCI address of a PF's VF.
func VF(pf string, number int) (bond.PCIAddress, error) {
	path, err := os.Readlink(filepath.Join(PCIDevices, pf, fmt.Sprintf("virtfn%d", number)))
	return bond.PCIAddress(filepath.Base(path)), err
}
