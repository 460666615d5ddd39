package link

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/virtiopci"
)

// Every link is requested by itself: a netns can have thousands of others, each with a message of more than a KiB. All
// links are listed only if nothing else shows which one belongs to a PCI function.

// deviceByIndex reads one link by its ifindex; nil if there is none.
func (c *conn) deviceByIndex(index int) (*device, error) {
	if index == 0 {
		return nil, nil
	}
	return orNil(c.byIndex(index, false))
}

// deviceByName reads one link by its name or an alternative one; nil if there is none.
func (c *conn) deviceByName(name string) (*device, error) { return orNil(c.byName(name, false)) }

func orNil(d *device, err error) (*device, error) {
	if errors.Is(err, bond.ErrGone) {
		return nil, nil
	}
	return d, err
}

// nameOf returns the name of a link; empty if there is no such link.
func (c *conn) nameOf(index int) string {
	if d, err := c.deviceByIndex(index); err == nil && d != nil {
		return d.Name
	}
	return ""
}

// maxUnknownMembers bounds the links in a bond that are read although they are not in the record: a pod can enslave any
// number.
const maxUnknownMembers = 256

// slavesOf returns the links that are enslaved to one: those in the record, and some others. The kernel selects them.
func (c *conn) slavesOf(master int, r *bond.Record) (devices, error) {
	return c.list(func() *nl.NetlinkRequest { return slavesRequest(master) }, func(d *device, found int) bool {
		return d.Master == master && (found < maxUnknownMembers || isMember(d, r))
	})
}

// isMember reports whether a link may be a member in the record, by the part of the identity that is in its message.
func isMember(d *device, r *bond.Record) bool {
	for i := range r.Members {
		if m := &r.Members[i]; m.PCI == d.PCI && (m.PCI != "" || m.Index == d.Index) {
			return true
		}
	}
	return false
}

func slavesRequest(master int) *nl.NetlinkRequest {
	req := allLinks()
	req.AddData(nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(master)))) //nolint:gosec // an ifindex is positive
	return req
}

func allLinks() *nl.NetlinkRequest { return linkRequest(unix.NLM_F_DUMP, 0, false) }

// list dumps links of the netns and returns those that match, without their alternative names. found is the number of
// those before. Nothing refers to the messages: a pod can make each of them longer than 64 KiB.
func (c *conn) list(request func() *nl.NetlinkRequest, match func(d *device, found int) bool) (devices, error) {
	var out devices
	err := c.retryInterruptedDump(func() error {
		out = nil
		return c.stream(request(), unix.RTM_NEWLINK, func(m []byte) error {
			d, err := parseDevice(m)
			if err == nil && match(d, len(out)) {
				d.altNames, d.data, d.afSpec, d.vfList = nil, slices.Clone(d.data), slices.Clone(d.afSpec), slices.Clone(d.vfList)
				out = append(out, d)
			}
			return err
		})
	})
	if err != nil {
		return nil, classify(fmt.Errorf("list the links %s: %w", c.place, err))
	}
	return out, nil
}

// linksOf returns the links of a PCI function in this netns, with representors. The netns's sysfs has their names;
// without sysfs all links are listed. known, if not nil, is one that was read just before.
func (c *conn) linksOf(pci bond.PCIAddress, known *device) (devices, error) {
	if err := c.openSysfs(); err != nil {
		return nil, classify(err)
	}
	for try := 1; c.sysfs >= 0 && try <= serialTries; try++ {
		names, err := c.netdevsOf(pci)
		if err != nil {
			return nil, fmt.Errorf("links of PCI function %s %s: %w", pci, c.place, err)
		}
		if known != nil && len(names) == 1 && names[0] == known.Name {
			return devices{known}, nil
		}
		out, err := c.named(names, pci)
		if err != nil || len(out) == len(names) {
			return out, err
		}
	} // one was renamed or moved meanwhile
	return c.list(allLinks, func(d *device, _ int) bool { return d.PCI == pci })
}

// named returns those of the links that belong to the PCI function.
func (c *conn) named(names []string, pci bond.PCIAddress) (out devices, err error) {
	for _, name := range names {
		d, err := c.deviceByName(name)
		if err != nil {
			return nil, err
		}
		if d != nil && d.PCI == pci {
			out = append(out, d)
		}
	}
	return out, nil
}

// netdevsOf returns the names of a PCI function's links in this netns. Those of virtio-net are below the virtio device.
func (c *conn) netdevsOf(pci bond.PCIAddress) ([]string, error) {
	function := "bus/pci/devices/" + string(pci)
	names, found, err := c.listSysfs(function + "/net")
	if err != nil || found {
		return names, err
	}
	devices, _, err := c.listSysfs(function)
	if err != nil {
		return nil, err
	}
	for _, d := range devices {
		if virtiopci.IsName([]byte(d)) {
			names, _, err = c.listSysfs(function + "/" + d + "/net")
			return names, err
		}
	}
	return nil, nil
}

// listSysfs returns the sorted names in a directory of the netns's sysfs, and whether the directory exists.
func (c *conn) listSysfs(path string) (names []string, found bool, err error) {
	fd, err := unix.Openat(c.sysfs, path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	dir := os.NewFile(uintptr(fd), path)
	defer func() { _ = dir.Close() }()
	names, err = dir.Readdirnames(-1)
	if errors.Is(err, unix.ENOENT) { // it was removed meanwhile
		return nil, false, nil
	}
	slices.Sort(names)
	return names, true, err
}
