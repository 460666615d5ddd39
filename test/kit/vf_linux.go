package kit

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// PCIDevices is where sysfs has the PCI functions.
const PCIDevices = topology.PCIDevices

// Netdev returns the name of a PCI function's netdev in the host, and waits for it: a driver needs a moment to create
// it, and the kernel to move it back from a deleted netns.
func Netdev(ctx context.Context, pci bond.PCIAddress) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		name, err := topology.Netdev(string(pci))
		if err == nil {
			return name, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", fmt.Errorf("%w: %w", err, ctx.Err())
		}
	}
}

// WriteSysfs writes a file of sysfs.
func WriteSysfs(path, text string) error { return os.WriteFile(path, []byte(text), 0o200) }

// UnbindVF unbinds a VF from its driver.
func (Links) UnbindVF(pci bond.PCIAddress) error { return unbind(string(pci)) }

// BindVF binds a VF to its driver.
func (Links) BindVF(pci bond.PCIAddress) error {
	return bind(string(pci), func(m topology.Model) string { return m.VFDriver })
}

// SetNumVFs removes the VFs of a PF and makes n new ones.
func (Links) SetNumVFs(pf string, n int) error {
	file := filepath.Join(PCIDevices, pf, "sriov_numvfs")
	if err := WriteSysfs(file, "0"); err != nil || n == 0 {
		return err
	}
	return WriteSysfs(file, fmt.Sprint(n))
}

// SetVF sets what a PF has for a VF, with one command of ip(8) per setting.
func (l Links) SetVF(pci bond.PCIAddress, s bond.VFSettings) error {
	pf, number, err := place(pci)
	if err != nil {
		return err
	}
	name, err := Netdev(context.Background(), bond.PCIAddress(pf))
	set := func(args ...string) {
		if err == nil {
			err = l.Set("", name, append([]string{"vf", fmt.Sprint(number)}, args...)...)
		}
	}
	onOff := map[bool]string{true: "on", false: "off"}
	if s.VLAN != nil {
		set("vlan", fmt.Sprint(s.VLAN.ID), "qos", fmt.Sprint(s.VLAN.QoS))
	}
	if s.MAC != nil {
		set("mac", string(*s.MAC))
	}
	if s.Rate != nil {
		set("max_tx_rate", fmt.Sprint(s.Rate.Max))
	}
	if s.SpoofChk != nil {
		set("spoofchk", onOff[*s.SpoofChk])
	}
	if s.Trust != nil {
		set("trust", onOff[*s.Trust])
	}
	return err
}

// place returns a VF's PF and number.
func place(pci bond.PCIAddress) (pf string, number int, err error) {
	path, err := os.Readlink(filepath.Join(PCIDevices, string(pci), "physfn"))
	pf = filepath.Base(path)
	for ; err == nil; number++ {
		var vf bond.PCIAddress
		if vf, err = VF(pf, number); vf == pci {
			break
		}
	}
	return pf, number, err
}

// NeedVFSettings excludes a test if the PFs of the guest's cards have no settings for VFs.
func NeedVFSettings(t testing.TB) {
	t.Helper()
	guest, err := topology.Load()
	Must(t, err)
	if m := guest.Model; !m.VFSettings {
		t.Skipf("excluded: PFs of %s have no settings for VFs", m.Name)
	}
}

// UnbindPF unbinds a PF from its driver.
func (Links) UnbindPF(pf string) error { return unbind(pf) }

// BindPF binds a PF to its driver, which makes no VFs.
func (Links) BindPF(pf string) error {
	return bind(pf, func(m topology.Model) string { return m.PFDriver })
}

func bind(pci string, driver func(topology.Model) string) error {
	guest, err := topology.Load()
	if err != nil {
		return err
	}
	return WriteSysfs(filepath.Join("/sys/bus/pci/drivers", driver(guest.Model), "bind"), pci)
}

func unbind(pci string) error {
	return WriteSysfs(filepath.Join(PCIDevices, pci, "driver", "unbind"), pci)
}

// VF returns the PCI address of a PF's VF.
func VF(pf string, number int) (bond.PCIAddress, error) {
	path, err := os.Readlink(filepath.Join(PCIDevices, pf, fmt.Sprintf("virtfn%d", number)))
	return bond.PCIAddress(filepath.Base(path)), err
}
