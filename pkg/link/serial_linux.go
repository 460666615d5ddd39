package link

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// serialTries bounds the repeated searches for a link that is renamed meanwhile.
const serialTries = 3

// serialOf returns the serial of a link of this netns: the inode number of its directory in sysfs. The kernel assigns
// it when it creates the link, does not change it when the link is renamed or moved to another netns, and uses it for
// no other link of this boot (__kernfs_new_node, kernfs_rename_ns). It cannot be chosen, in contrast to ifindex, name,
// alias and MAC.
//
// It is 0 if sysfs cannot be mounted, which needs CAP_SYS_ADMIN and the permission of the security module. bond.ErrGone
// means that there is no such link.
func (c *conn) serialOf(d *device) (uint64, error) {
	if err := c.openSysfs(); err != nil {
		return 0, err
	}
	if c.sysfs < 0 {
		return 0, nil
	}
	for try := 1; ; try++ {
		serial, err := readSerial(c.sysfs, d)
		if err == nil {
			return serial, nil
		}
		if try == serialTries || !errors.Is(err, unix.ENOENT) && !errors.Is(err, bond.ErrStale) {
			return 0, fmt.Errorf("serial of link %s (ifindex %d) %s: %w", d.Name, d.Index, c.place, err)
		}
		if d, err = c.byIndex(d.Index, false); err != nil { // it may have another name now
			return 0, err
		}
	}
}

// readSerial reads serial and ifindex in one directory, which belongs to one link even if that is renamed meanwhile.
func readSerial(sysfs int, d *device) (uint64, error) {
	dir, err := unix.Openat(sysfs, "class/net/"+d.Name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(dir) }()
	var st unix.Stat_t
	if err = unix.Fstat(dir, &st); err != nil {
		return 0, err
	}
	fd, err := unix.Openat(dir, "ifindex", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	f := os.NewFile(uintptr(fd), "ifindex")
	defer func() { _ = f.Close() }()
	var text [32]byte
	n, err := f.Read(text[:])
	if err != nil {
		return 0, err
	}
	index, err := strconv.Atoi(strings.TrimSpace(string(text[:n])))
	if err == nil && index != d.Index {
		err = fmt.Errorf("%w: %s has ifindex %d, not %d", bond.ErrStale, d.Name, index, d.Index)
	}
	return st.Ino, err
}

// openSysfs mounts the netns's sysfs, attached nowhere, while the conn is open: a mounted sysfs shows the links of the
// netns in which it was created.
func (c *conn) openSysfs() error {
	if c.sysfs != 0 {
		return nil
	}
	return c.ns.Do(func() error {
		fs, err := unix.Fsopen("sysfs", unix.FSOPEN_CLOEXEC)
		if err == nil {
			defer func() { _ = unix.Close(fs) }()
			err = unix.FsconfigCreate(fs)
		}
		if err == nil {
			c.sysfs, err = unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_RDONLY)
		}
		for _, forbidden := range []error{unix.EPERM, unix.EACCES, unix.ENOSYS, unix.ENODEV} {
			if errors.Is(err, forbidden) {
				c.sysfs, err = -1, nil
			}
		}
		if err != nil {
			c.sysfs = 0
			return fmt.Errorf("mount sysfs: %w", err)
		}
		return nil
	})
}
