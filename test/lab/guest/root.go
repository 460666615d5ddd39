package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/test/lab/internal/wire"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// mount is one file system of the guest.
type mount struct {
	source, target, fstype string
	flags                  uintptr
	data                   string
}

// p9 are the options of both 9p mounts. The largest message that virtio accepts needs the fewest round trips, which
// dominate the time.
const p9 = "trans=virtio,version=9p2000.L,msize=512000"

// rootMounts make the guest's root at /root: the host's /, under an overlay in memory that takes all writes. The host's
// files are cached without revalidation (cache=loose): files that the guest has read do not change while it runs.
var rootMounts = []mount{
	{"tmpfs", "/layer", "tmpfs", 0, "mode=0755"},
	{wire.RootTag, "/host", "9p", unix.MS_RDONLY, p9 + ",cache=loose"},
	{"overlay", "/root", "overlay", 0, "lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work"},
}

// systemMounts are relative to the root. /tmp stays a part of the overlay, so that programs built in the host's /tmp
// are found there.
var systemMounts = []mount{
	{"proc", "proc", "proc", 0, ""},
	{"sysfs", "sys", "sysfs", 0, ""},
	{"devtmpfs", "dev", "devtmpfs", 0, "mode=0755"},
	{"devpts", "dev/pts", "devpts", 0, "mode=0620,gid=5,ptmxmode=0666"},
	{"tmpfs", "dev/shm", "tmpfs", 0, "mode=1777"},
	{"tmpfs", "run", "tmpfs", 0, "mode=0755"},
	{"cgroup2", "sys/fs/cgroup", "cgroup2", 0, ""},
	{"debugfs", "sys/kernel/debug", "debugfs", 0, ""},
	{wire.ShareTag, strings.TrimPrefix(topology.ShareDir, "/"), "9p", 0, p9 + ",cache=none"},
}

// enterRoot mounts the guest's root and switches to it, as switch_root(8) does: with only a chroot, the kernel's own
// helpers, such as modprobe, would still use the initramfs.
func enterRoot(boot *wire.Boot) error {
	if err := mountAll("/", rootMounts, "/layer/upper", "/layer/work"); err != nil {
		return err
	}
	if err := mountAll("/root", systemMounts); err != nil {
		return err
	}
	if err := os.Chdir("/root"); err != nil {
		return fmt.Errorf("enter the root: %w", err)
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("change the root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return fmt.Errorf("enter the new root: %w", err)
	}
	return furnish(boot)
}

// mountAll makes mounts one after the other below dir, with their mount points and, after the first mount, further
// directories.
func mountAll(dir string, mounts []mount, further ...string) error {
	for i, m := range mounts {
		target := filepath.Join(dir, m.target)
		if err := os.MkdirAll(target, 0o755); err != nil {
			return fmt.Errorf("mount point: %w", err)
		}
		if err := unix.Mount(m.source, target, m.fstype, m.flags, m.data); err != nil {
			return fmt.Errorf("mount %s (%s) at %s: %w", m.source, m.fstype, target, err)
		}
		if i > 0 {
			continue
		}
		for _, d := range further {
			if err := os.MkdirAll(d, 0o755); err != nil {
				return fmt.Errorf("directory of the root: %w", err)
			}
		}
	}
	return nil
}

// furnish creates what a booted system has besides its mounts, and writes the orders for the command server.
func furnish(boot *wire.Boot) error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return fmt.Errorf("kernel's release: %w", err)
	}
	release := unix.ByteSliceToString(name.Release[:])
	if err := os.MkdirAll("/lib/modules", 0o755); err != nil {
		return fmt.Errorf("directory of the kernel's modules: %w", err)
	}
	for link, target := range map[string]string{
		"/lib/modules/" + release: boot.KernelModules,
		"/dev/fd":                 "/proc/self/fd",
		"/dev/stdin":              "/proc/self/fd/0",
		"/dev/stdout":             "/proc/self/fd/1",
		"/dev/stderr":             "/proc/self/fd/2",
	} {
		// On a host that runs the guest's kernel, the first already exists and is the same.
		if err := os.Symlink(target, link); err != nil && !os.IsExist(err) {
			return fmt.Errorf("link: %w", err)
		}
	}
	if err := unix.Sethostname([]byte("lab")); err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	data, err := json.Marshal(boot)
	if err != nil {
		return fmt.Errorf("orders of the host: %w", err)
	}
	if err := os.WriteFile(ordersFile, data, 0o600); err != nil {
		return fmt.Errorf("orders of the host: %w", err)
	}
	return nil
}

// ordersFile contains the host's orders for the command server.
const ordersFile = topology.Dir + "/boot.json"
