package link

import (
	"errors"
	"fmt"
	"path"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// parentOf returns the link's device and its bus from sysfs; empty for a virtual link, and if sysfs cannot be read.
// Kernels before 5.14 do not report them elsewhere.
func (c *conn) parentOf(d *device) (bus, name string, err error) {
	if err = c.openSysfs(); err != nil || c.sysfs < 0 {
		return "", "", err
	}
	dir := "class/net/" + d.Name + "/device"
	if name, err = readLinkAt(c.sysfs, dir); err == nil {
		bus, err = readLinkAt(c.sysfs, dir+"/subsystem")
	}
	if errors.Is(err, unix.ENOENT) {
		return "", "", nil
	}
	if err != nil {
		return "", "", fmt.Errorf("device of link %s (ifindex %d) %s: %w", d.Name, d.Index, c.place, err)
	}
	return path.Base(bus), path.Base(name), nil
}

func readLinkAt(dir int, name string) (string, error) {
	var target [unix.PathMax]byte
	n, err := unix.Readlinkat(dir, name, target[:])
	if err != nil {
		return "", err
	}
	return string(target[:n]), nil
}

// checkRecognisable reports whether a link without a PCI address could be recognised after its driver has released it.
// It returns an error for a VF on a kernel that does not report its address, and a warning for a device without one.
func checkRecognisable(link, bus, parent string) (warning string, err error) {
	switch bus {
	case "":
		return "", nil
	case "pci":
		return "", fmt.Errorf("link %s: the kernel does not report its PCI address (%s), so a lost VF could not be recognised; use Linux 5.14 or newer: %w", link, parent, bond.ErrUnsupported)
	}
	return fmt.Sprintf("link %s: its device %s is on the bus %s and has no PCI address; once its driver lets go of it, its new link is not recognised and the pod must be recreated", link, parent, bus), nil
}
