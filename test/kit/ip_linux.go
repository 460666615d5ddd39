package kit

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/netns"
)

// IP runs ip(8) in the netns at path, or in the caller's if path is empty, and returns its output.
func IP(path string, args ...string) ([]byte, error) { return Run(path, "ip", args...) }

// Run runs a program in the netns at path, or in the caller's if path is empty, and returns its output.
func Run(path, program string, args ...string) ([]byte, error) {
	open := netns.Current
	if path != "" {
		open = func() (*netns.NS, error) { return netns.Open(path) }
	}
	ns, err := open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = ns.Close() }()
	var out, problems bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := ns.Do(cmd.Run); err != nil {
		return out.Bytes(), fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, &problems)
	}
	return out.Bytes(), nil
}

// MustIP is IP in this process's netns; the test fails on an error.
func MustIP(t testing.TB, args ...string) []byte {
	t.Helper()
	out, err := IP("", args...)
	Must(t, err)
	return out
}

// own is this process's netns.
const own = "/proc/self/ns/net"

// AddNetns makes a netns at path, which is in /run/netns. It replaces one that is there already, by one with another
// inode.
func AddNetns(path string) error {
	if _, err := os.Stat(path); err == nil {
		return replaceNetns(path)
	}
	_, err := IP(own, "netns", "add", filepath.Base(path))
	return err
}

// replaceNetns makes the new one before the old one is deleted: the kernel reuses the inode number of a deleted netns
// for the next one (proc_alloc_inum takes the lowest free one).
func replaceNetns(path string) error {
	fresh := path + "n"
	if err := AddNetns(fresh); err != nil {
		return err
	}
	defer func() { _ = DeleteNetns(fresh) }()
	if err := DeleteNetns(path); err != nil {
		return err
	}
	if err := os.WriteFile(path, nil, 0o400); err != nil {
		return err
	}
	return unix.Mount(fresh, path, "", unix.MS_BIND, "")
}

// DeleteNetns deletes a netns in /run/netns.
func DeleteNetns(path string) error {
	_, err := IP(own, "netns", "del", filepath.Base(path))
	return err
}
