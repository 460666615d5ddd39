package heal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

const pciDevices = topology.PCIDevices

// write writes to a sysfs file. When it returns, the kernel has made the change.
func write(file, value string) error {
	if err := os.WriteFile(file, []byte(value), 0); err != nil {
		return fmt.Errorf("write %q: %w", value, err)
	}
	return nil
}

func unbindVF(pci string) error { return kit.Links{}.UnbindVF(bond.PCIAddress(pci)) }
func bindVF(pci string) error   { return kit.Links{}.BindVF(bond.PCIAddress(pci)) }

// card is an SR-IOV card. The name of its PF's interface may change.
type card struct {
	topology.Card
	model topology.Model
}

// pf returns the current name of the PF's interface.
func (c card) pf() (string, error) { return topology.Netdev(c.PF.PCI) }

// setNumVFs writes sriov_numvfs; when it returns, the VFs have their drivers.
func (c card) setNumVFs(n int) error {
	return write(filepath.Join(pciDevices, c.PF.PCI, "sriov_numvfs"), strconv.Itoa(n))
}

// complete recreates missing VFs and sets the PF up, in case earlier tests left the card otherwise.
func (c card) complete(ctx context.Context) error {
	if err := c.setPF(ctx, "up"); err != nil {
		return err
	}
	now, err := os.ReadFile(filepath.Join(pciDevices, c.PF.PCI, "sriov_numvfs"))
	if err != nil || strings.TrimSpace(string(now)) == strconv.Itoa(len(c.VFs)) {
		return err
	}
	return errors.Join(c.setNumVFs(0), c.setNumVFs(len(c.VFs)))
}

// setPF sets the PF up or down.
func (c card) setPF(ctx context.Context, state string) error {
	name, err := c.pf()
	if err != nil {
		return err
	}
	return ip(ctx, "link set %s %s", name, state)
}

// vfSettings are the settings that a test gives a VF on its PF before a pod gets it.
type vfSettings struct {
	mac             string
	vlan, qos       int
	trust, spoofchk string
}

// set writes settings to the PF and rebinds the VF's driver, so that the interface gets the MAC. A VF whose PF has no
// settings gets the MAC alone.
func (c card) set(ctx context.Context, number int, s vfSettings) error {
	if !c.model.VFSettings {
		vf, err := topology.Netdev(c.VFs[number].PCI)
		if err != nil {
			return err
		}
		return ip(ctx, "link set %s address %s", vf, s.mac)
	}
	name, err := c.pf()
	if err != nil {
		return err
	}
	err = ip(ctx, "link set %s vf %d mac %s vlan %d qos %d trust %s spoofchk %s", name, number, s.mac, s.vlan, s.qos, s.trust, s.spoofchk)
	if err != nil {
		return err
	}
	pci := c.VFs[number].PCI
	if err := unbindVF(pci); err != nil {
		return err
	}
	return bindVF(pci)
}
