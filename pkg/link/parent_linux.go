package link

import (
	"errors"
	"fmt"
	"path"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// parentOf returns the device that a link belongs to and its bus, as sysfs shows them; empty for a virtual link, and where
// sysfs cannot be read. A kernel before 5.14 tells it nowhere else.
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

// recognisable says how far a link without a PCI address could be recognised after its driver let go of it: the error
// refuses a VF on a kernel that does not tell its address, the warning is about a device that has none.
func recognisable(link, bus, parent string) (warning string, err error) {
	switch bus {
	case "":
		return "", nil
	case "pci":
		return "", fmt.Errorf("link %s: the kernel does not tell its PCI address (%s), so a lost VF could not be recognised; use Linux 5.14 or newer: %w", link, parent, bond.ErrUnsupported)
	}
	return fmt.Sprintf("link %s: its device %s is on the bus %s and has no PCI address; once its driver lets go of it, its new link is not recognised and the pod must be recreated", link, parent, bus), nil
}
