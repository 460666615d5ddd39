package link

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/virtiopci"
)

// sysfs is the directory of PCI devices by address. It shows the netdevs of the host's
// netns only; its information about VFs is valid wherever their netdev is.
type sysfs struct{ root string }

// virtioDriver is the driver of virtio's PCI functions. A PF with it has no settings for its VFs: virtio_net implements
// none of the ndo_set_vf_* functions.
const virtioDriver = "virtio-pci"

// pfOf returns the VF's physical function; bond.ErrGone if the device is missing or is not a VF of this host (a VF
// passed to a virtual machine shows no PF inside), or if its PF has no settings for VFs.
func (s sysfs) pfOf(vf bond.PCIAddress) (bond.PCIAddress, error) {
	pf, err := s.anyPFOf(vf)
	if err == nil && s.driverOf(pf) == virtioDriver {
		return "", fmt.Errorf("%w: PF %s of %s is a virtio device, which has no settings for VFs", bond.ErrGone, pf, vf)
	}
	return pf, err
}

// anyPFOf is pfOf without the last condition.
func (s sysfs) anyPFOf(vf bond.PCIAddress) (bond.PCIAddress, error) { return s.linked(vf, "physfn") }

// vfOf returns the PF's virtual function of that number; bond.ErrGone if there is none.
func (s sysfs) vfOf(pf bond.PCIAddress, number int) (bond.PCIAddress, error) {
	return s.linked(pf, "virtfn"+strconv.Itoa(number))
}

func (s sysfs) linked(dev bond.PCIAddress, name string) (bond.PCIAddress, error) {
	to, err := os.Readlink(filepath.Join(s.root, string(dev), name))
	if err != nil {
		return "", asGone(err)
	}
	return bond.ParsePCIAddress(filepath.Base(to))
}

// numberOf returns the VF's number on its PF. The kernel numbers them from 0, without gaps (sriov_enable).
func (s sysfs) numberOf(pf, vf bond.PCIAddress) (int, error) {
	for n := 0; ; n++ {
		found, err := s.vfOf(pf, n)
		switch {
		case errors.Is(err, bond.ErrGone):
			return 0, fmt.Errorf("%w: PF %s has no VF %s", bond.ErrGone, pf, vf)
		case err != nil:
			return 0, err
		case found == vf:
			return n, nil
		}
	}
}

// representor matches the port name of a netdev that represents a VF or a sub-function on a
// switch inside the card; its parent is the PF, too (devlink port names).
var representor = regexp.MustCompile(`^(c\d+)?pf\d+(vf|sf)?\d*$`)

// uplink matches the port name of the netdev that represents a physical port.
var uplink = regexp.MustCompile(`^p\d+(s\d+)?$`)

// errAmbiguous: a PCI function has several netdevs, and nothing shows which one is meant.
var errAmbiguous = errors.New("ambiguous")

// netdevOf returns the name of a PCI function's own netdev in the host's netns; bond.ErrGone if it has none there. If
// there are several, as on cards with several ports on one function, it returns the only uplink, or errAmbiguous.
func (s sysfs) netdevOf(dev bond.PCIAddress) (string, error) {
	all, err := s.netdevsOf(dev)
	if err != nil {
		return "", err
	}
	if len(all) == 1 {
		return all[0], nil
	}
	if up := s.only(dev, all, "phys_port_name", uplink.MatchString); up != "" {
		return up, nil
	}
	return "", fmt.Errorf("%w: PCI function %s has several network links: %s", errAmbiguous, dev, strings.Join(all, ", "))
}

// pfNetdevOf is netdevOf for a VF's PF. If there are several, it returns that of the VF's port, if the VF's own netdev
// is in the host and shows it.
func (s sysfs) pfNetdevOf(pf, vf bond.PCIAddress) (string, error) {
	name, err := s.netdevOf(pf)
	if !errors.Is(err, errAmbiguous) {
		return name, err
	}
	own, gone := s.netdevOf(vf)
	all, gonePF := s.netdevsOf(pf)
	if gone != nil || gonePF != nil {
		return "", err
	}
	if port := s.attribute(vf, own, "dev_port"); port != "" {
		if name := s.only(pf, all, "dev_port", func(p string) bool { return p == port }); name != "" {
			return name, nil
		}
	}
	return "", err
}

// withoutNetdev reports whether err came from a PF that has no netdev, or none that is known to be the one.
func (s sysfs) withoutNetdev(pf bond.PCIAddress, err error) bool {
	_, none := s.netdevsOf(pf)
	return errors.Is(err, errAmbiguous) || errors.Is(none, bond.ErrGone)
}

// netdevsOf returns a PCI function's netdevs in the host, without representors; bond.ErrGone if there are none.
func (s sysfs) netdevsOf(dev bond.PCIAddress) ([]string, error) {
	entries, err := os.ReadDir(virtiopci.NetDir(filepath.Join(s.root, string(dev))))
	if err != nil {
		return nil, asGone(err)
	}
	var names []string
	for _, e := range entries {
		if !representor.MatchString(s.attribute(dev, e.Name(), "phys_port_name")) {
			names = append(names, e.Name())
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%w: PCI function %s has no netdev in the host's netns", bond.ErrGone, dev)
	}
	return names, nil
}

// only returns the one netdev whose attribute matches; empty if there is none or more than one.
func (s sysfs) only(dev bond.PCIAddress, names []string, attribute string, match func(string) bool) string {
	found := ""
	for _, name := range names {
		if !match(s.attribute(dev, name, attribute)) {
			continue
		}
		if found != "" {
			return ""
		}
		found = name
	}
	return found
}

// attribute reads a netdev's file in sysfs; empty if the driver does not support it.
func (s sysfs) attribute(dev bond.PCIAddress, netdev, name string) string {
	text, err := os.ReadFile(filepath.Join(virtiopci.NetDir(filepath.Join(s.root, string(dev))), netdev, name))
	if err != nil {
		return ""
	}
	return string(trimNewline(text))
}

// driverOf returns the driver of a PCI function; "none" if it has none.
func (s sysfs) driverOf(dev bond.PCIAddress) string {
	to, err := os.Readlink(filepath.Join(s.root, string(dev), "driver"))
	if err != nil {
		return "none"
	}
	return filepath.Base(to)
}

// boundTo returns the driver of a PCI function for bond.ObservedMember.
func (s sysfs) boundTo(dev bond.PCIAddress) string {
	if _, err := os.Stat(filepath.Join(s.root, string(dev))); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return bond.NoDevice
		}
		return ""
	}
	to, err := os.Readlink(filepath.Join(s.root, string(dev), "driver"))
	if errors.Is(err, fs.ErrNotExist) {
		return bond.NoDriver
	}
	if err != nil {
		return ""
	}
	return filepath.Base(to)
}

func trimNewline(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '\n' {
		return b[:n-1]
	}
	return b
}

func asGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", bond.ErrGone, err)
	}
	return err
}
