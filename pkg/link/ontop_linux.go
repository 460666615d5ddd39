package link

import (
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// maxOnTop bounds the entries of a bond's directory that are read: a pod can create any number of links on it. Some 30 are
// files that each link has.
const maxOnTop = 1024

// linksOnTop returns the names of the links on top of a bond, without its master; not ok if they cannot be read. The kernel
// has no request for them, and to list all links of a netns would cost more the more there are.
func (c *conn) linksOnTop(b *bond.Link) (names []string, ok bool) {
	if err := c.openSysfs(); err != nil || c.sysfs < 0 {
		return nil, false
	}
	fd, err := unix.Openat(c.sysfs, "class/net/"+b.Name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, false
	}
	dir := os.NewFile(uintptr(fd), b.Name)
	defer func() { _ = dir.Close() }()
	entries, err := dir.Readdirnames(maxOnTop)
	if err != nil || len(entries) == maxOnTop {
		return nil, false
	}
	master := ""
	if b.Master != 0 {
		if master = c.nameOf(b.Master); master == "" {
			return nil, false
		}
	}
	for _, entry := range entries {
		if name, isUpper := strings.CutPrefix(entry, "upper_"); isUpper && name != master {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, true
}
