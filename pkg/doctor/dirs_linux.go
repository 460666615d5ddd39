package doctor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/store"
)

func stateDir(_ context.Context, c *Config) Finding {
	if _, err := store.Open(c.StateDir); err != nil {
		return finding(Fail, "mount the node's directory there, writable, and see that plugin (stateDir) and agent (--state-dir) use the same", "%v", err)
	}
	f, err := os.CreateTemp(filepath.Join(c.StateDir, "tmp"), "doctor-")
	if err != nil {
		return finding(Fail, "make it writable and see that it has room", "%v", err)
	}
	if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
		return finding(Fail, "make it writable and see that it has room", "%v", err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(c.StateDir, &st); err != nil {
		return finding(Fail, "", "statfs %s: %v", c.StateDir, err)
	}
	if st.Type != unix.TMPFS_MAGIC {
		return finding(Warn, "use a directory below /run: records that outlive a boot are of no use, and a disk makes pods wait", "%s can be written and is not in memory", c.StateDir)
	}
	return ok("%s can be written, in memory", c.StateDir)
}

// netnsDirs checks that netns of later pods appear here. A runtime mounts each netns on a file.
func netnsDirs(_ context.Context, c *Config) Finding {
	const remedy = "mount the node's directory with mountPropagation: HostToContainer, as manifests/base does"
	alive, dead := 0, 0
	for _, dir := range c.NetnsDirs {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return finding(Warn, "nothing, if no pod has run on this node since its start; otherwise "+remedy, "%s is not there", dir)
		}
		if err != nil {
			return finding(Fail, remedy, "%v", err)
		}
		if err := propagated(filepath.Join(c.ProcSelf, "mountinfo"), dir); err != nil {
			return finding(Fail, remedy, "%v", err)
		}
		a, d := countNetns(dir, entries)
		alive, dead = alive+a, dead+d
	}
	where := strings.Join(c.NetnsDirs, " and ")
	if alive == 0 && dead > 0 {
		return finding(Fail, remedy, "%d files in %s and none is a netns", dead, where)
	}
	return ok("%s, new ones appear; %d names of netns", where, alive)
}

func countNetns(dir string, entries []fs.DirEntry) (alive, dead int) {
	for _, e := range entries {
		var st unix.Statfs_t
		if err := unix.Statfs(filepath.Join(dir, e.Name()), &st); err == nil && st.Type == unix.NSFS_MAGIC {
			alive++
		} else {
			dead++
		}
	}
	return alive, dead
}

// propagated checks that the mount of dir receives mounts from the host: that it is shared or a slave
// (mount_namespaces(7)). mountinfo is a file as in proc_pid_mountinfo(5).
func propagated(mountinfo, dir string) error {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	f, err := os.Open(mountinfo)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	point, takes := "", false
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) < 7 || len(fields[4]) < len(point) || !within(dir, fields[4]) {
			continue
		}
		point, takes = fields[4], false // the last mount at a place covers the others
		for _, option := range fields[6:] {
			if option == "-" {
				break
			}
			takes = takes || strings.HasPrefix(option, "shared:") || strings.HasPrefix(option, "master:")
		}
	}
	if !takes {
		return fmt.Errorf("netns that are made from now on do not appear in %s: its mount at %q is private", dir, point)
	}
	return nil
}

func within(path, dir string) bool {
	return dir == "/" || path == dir || strings.HasPrefix(path, dir+"/")
}

func sysctl(_ context.Context, c *Config) Finding {
	file := filepath.Join(c.SysctlNet, "ipv6", "conf", "all", "disable_ipv6")
	switch err := unix.Access(file, unix.W_OK); {
	case errors.Is(err, unix.ENOENT):
		if _, statErr := os.Stat(c.SysctlNet); statErr != nil {
			return finding(Fail, "mount the node's /proc/sys/net there, writable, or name another directory with --sysctl-net", "%v", statErr)
		}
		return skip("this kernel has no IPv6")
	case err != nil:
		return finding(Fail, "mount the node's /proc/sys/net writable and name it with --sysctl-net, as manifests/base does", "IPv6 cannot be enabled on a recreated bond: %s: %v", file, err)
	}
	return ok("%s can be written", c.SysctlNet)
}

func sriovCNI(_ context.Context, c *Config) Finding {
	const unknown = "nothing, if VFs are put into pods by another plugin; otherwise mount the node's directory there"
	entries, err := os.ReadDir(c.SriovDir)
	if errors.Is(err, fs.ErrNotExist) {
		return finding(Warn, unknown, "%s is not there: what a VF was asked to be is read from its PF", c.SriovDir)
	}
	if err == nil {
		err = readable(filepath.Join(c.SriovDir, "pci"))
	}
	if err == nil {
		err = readable(filepath.Join(c.SriovDir, "pci", "vf_lock"))
	}
	if err != nil {
		return finding(Fail, "give the agent CAP_DAC_READ_SEARCH, as manifests/base does: sriov-cni makes its directories with mode 0600", "lost VFs are not attached again: %v", err)
	}
	return ok("%s, %d entries", c.SriovDir, len(entries))
}

// readable opens the files in a directory, as the agent does with claims and locks. A missing directory is not used by
// this release of sriov-cni.
func readable(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		_, err = os.Stat(dir + "/.") // needs the right to search it
	}
	for i := 0; err == nil && i < len(entries); i++ {
		var f *os.File
		if f, err = os.Open(filepath.Join(dir, entries[i].Name())); err == nil {
			err = f.Close()
		} else if errors.Is(err, fs.ErrNotExist) {
			err = nil // released meanwhile
		}
	}
	return err
}
