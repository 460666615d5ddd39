package cni

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/cni/cnitest"
)

// TestDelOfWhatAddRejects: DEL succeeds with each config and container ID that ADD rejects, and makes nothing. The state
// directory of the last rows exists, and cannot be used.
func TestDelOfWhatAddRejects(t *testing.T) {
	n := newNode(t, 1)
	pod := n.pod("p1", 0)
	file, shared := filepath.Join(t.TempDir(), "file"), filepath.Join(t.TempDir(), "shared")
	n.must(errors.Join(os.WriteFile(file, nil, 0o600), os.Mkdir(shared, 0o700), os.Chmod(shared, 0o777))) //nolint:gosec // that is the point
	for name, change := range map[string]map[string]any{
		"IPAM plugin missing":        {"ipam": map[string]any{"type": "host-locall"}},
		"IPAM as text":               {"ipam": "host-local"},
		"IPAM as list":               {"ipam": []any{}},
		"IPAM type as number":        {"ipam": map[string]any{"type": 7}},
		"IPAM type with a path":      {"ipam": map[string]any{"type": "../host-local"}},
		"IPAM type is the bond":      {"ipam": map[string]any{"type": "bond"}},
		"mode":                       {"mode": "bonkers"},
		"links as number":            {"links": 7},
		"no links":                   {"links": nil},
		"no such link":               {"links": []any{map[string]string{"name": "net7"}}},
		"MTU":                        {"mtu": "large"},
		"no name":                    {"name": nil},
		"name as number":             {"name": 7},
		"runtimeConfig as text":      {"runtimeConfig": "x"},
		"prevResult as text":         {"prevResult": "x"},
		"state directory relative":   {"stateDir": "state"},
		"state directory empty":      {"stateDir": ""},
		"state directory as number":  {"stateDir": 7},
		"state directory is a file":  {"stateDir": file},
		"state directory in a file":  {"stateDir": filepath.Join(file, "state")},
		"state directory for others": {"stateDir": shared},
	} {
		t.Run(name, func(t *testing.T) {
			before, links := n.files(), n.String()
			args := n.args("c1", pod, n.config(change))
			if _, err := n.add(args); err == nil {
				t.Fatal("ADD succeeded")
			}
			for range 2 {
				n.mustDel(args)
			}
			if after := n.files(); !slices.Equal(after, before) {
				t.Errorf("files before %q, after %q", before, after)
			}
			n.nothingLeft(links)
		})
	}
	for name, args := range map[string]*skel.CmdArgs{
		"long container ID": n.args(strings.Repeat("c", 201), pod, n.config(nil)),
		"odd container ID":  n.args("a@b", pod, n.config(nil)),
		"CNI_ARGS":          {ContainerID: "c1", IfName: "bond0", Netns: pod, Path: plugins, Args: "nonsense", StdinData: n.config(nil)},
		"host's netns":      n.args("c1", "/host", n.config(nil)),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := n.add(args); err == nil {
				t.Fatal("ADD succeeded")
			}
			n.mustDel(args)
		})
	}
	cnitest.WantError(t, n.del(n.args("c1", pod, []byte("{"))), types.ErrDecodingFailure, "network config")
}

// TestDelWithAnEditedConfig: a bond whose record is there is released, whatever DEL's own config says.
func TestDelWithAnEditedConfig(t *testing.T) {
	n := newNode(t, 1)
	pod := n.pod("p1", 0)
	before := n.String()
	n.mustAdd(n.args("c1", pod, n.config(nil)))
	n.mustDel(n.args("c1", pod, n.config(map[string]any{"ipam": "none", "name": 7, "mode": nil})))
	n.nothingLeft(before)
}

// TestDelWithUnreadableState: a state directory that cannot be used, with a record in it, fails DEL: the bond is there.
func TestDelWithUnusableState(t *testing.T) {
	n := newNode(t, 1)
	pod := n.pod("p1", 0)
	args := n.args("c1", pod, n.config(nil))
	n.mustAdd(args)
	n.must(os.Chmod(n.dir, 0o777)) //nolint:gosec // that is the point
	cnitest.WantError(t, n.del(args), types.ErrInternal, "others may write")
	n.must(os.Chmod(n.dir, 0o700)) //nolint:gosec // a directory
	n.mustDel(args)
}

// ownPlugins is a directory with host-local alone, as CNI_PATH.
func ownPlugins(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.Symlink(filepath.Join(plugins, "host-local"), filepath.Join(dir, "host-local")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestDelWithoutIPAM: with an IPAM that fails for good, the bond is taken down by the first DEL, the third succeeds, and the
// agent releases the address when the IPAM works again.
func TestDelWithoutIPAM(t *testing.T) {
	for _, tt := range []struct {
		name string
		// harm makes the IPAM fail, and returns what repairs it.
		harm func(t *testing.T, n *node, path string) (repair func() error)
	}{
		{"binary removed", func(t *testing.T, n *node, path string) func() error {
			binary := filepath.Join(path, "host-local")
			n.must(os.Rename(binary, binary+".away"))
			return func() error { return os.Rename(binary+".away", binary) }
		}},
		// Where it can open its directory and not write to it, host-local v1.9.1 reports success and releases nothing.
		{"data directory unusable", func(_ *testing.T, n *node, _ string) func() error {
			n.must(errors.Join(os.Rename(n.data, n.data+".away"), os.WriteFile(n.data, nil, 0o600)))
			return func() error { return errors.Join(os.Remove(n.data), os.Rename(n.data+".away", n.data)) }
		}},
		{"DHCP daemon gone", func(t *testing.T, n *node, path string) func() error {
			r := n.record("c1")
			config := r.CNI.Config
			r.CNI.Config = n.config(map[string]any{"ipam": map[string]any{"type": "dhcp", "daemonSocketPath": filepath.Join(t.TempDir(), "gone.sock")}})
			n.must(errors.Join(n.store.Save(r), os.Symlink(filepath.Join(plugins, "dhcp"), filepath.Join(path, "dhcp"))))
			return func() error { r := n.record("c1"); r.CNI.Config = config; return n.store.Save(r) }
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t, 1)
			pod := n.pod("p1", 0)
			before := n.String()
			args := n.args("c1", pod, n.config(nil))
			args.Path = ownPlugins(t)
			n.mustAdd(args)
			repair := tt.harm(t, n, args.Path)
			for attempt := 1; attempt <= 5; attempt++ {
				err := n.del(args)
				if failed := err != nil; failed != (attempt < 3) {
					t.Fatalf("DEL %d: %v", attempt, err)
				}
				if n.String() != before {
					t.Fatalf("DEL %d left the bond or its members:\n%s", attempt, n.Fake)
				}
				if r := n.record("c1"); !r.Deleted() || r.CNI.IPAMAttempts != min(attempt, 3) || r.CNI.IPAMError == "" {
					t.Fatalf("DEL %d left the record %s with %+v", attempt, r.Phase, r.CNI)
				}
			}
			if err := n.engine().ReleaseRecord(t.Context(), n.record("c1")); err == nil {
				t.Fatal("the agent's release succeeds without IPAM")
			}
			n.must(repair())
			n.must(n.engine().ReleaseRecord(t.Context(), n.record("c1")))
			n.nothingLeft(before)
		})
	}
}

// TestIPAMThatNeverWorked: with a config that the IPAM plugin rejects in ADD and in DEL, nothing is known to be allocated. The
// third attempt ends DEL, the tenth the record.
func TestIPAMThatNeverWorked(t *testing.T) {
	n := newNode(t, 1)
	pod := n.pod("p1", 0)
	before := n.String()
	args := n.args("c1", pod, n.config(map[string]any{"ipam": map[string]any{"type": "host-local", "subnet": "10.0.0.0/99"}}))
	_, err := n.add(args)
	cnitest.WantError(t, err, types.ErrInternal, "10.0.0.0/99") // the first attempt
	if err := n.del(args); err == nil {
		t.Error("the second attempt is not the last")
	}
	n.mustDel(args)
	for range 6 {
		if err := n.engine().ReleaseRecord(t.Context(), n.record("c1")); err == nil {
			t.Error("given up too early")
		}
	}
	n.must(n.engine().ReleaseRecord(t.Context(), n.record("c1")))
	n.nothingLeft(before)
}

// TestIPAMThatHangs: an IPAM plugin that does not return, nor end its children, is killed with them. DEL takes the bond down
// in the time that is left.
func TestIPAMThatHangs(t *testing.T) {
	n := newNode(t, 1)
	pod := n.pod("p1", 0)
	before := n.String()
	dir := t.TempDir()
	child := filepath.Join(dir, "child")
	script := fmt.Sprintf("#!/bin/sh\n[ $CNI_COMMAND = DEL ] || exec %s\nsleep 600 &\necho $! > %s\nwait\n", filepath.Join(plugins, "host-local"), child)
	n.must(os.WriteFile(filepath.Join(dir, "hangs"), []byte(script), 0o700)) //nolint:gosec // a program
	args := n.args("c1", pod, n.config(map[string]any{"ipam": map[string]any{"type": "hangs", "dataDir": n.data, "subnet": "10.0.0.0/24"}}))
	args.Path = dir
	n.mustAdd(args)
	for attempt := 1; attempt <= 3; attempt++ {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second+500*time.Millisecond) // 10 s are for the bond
		err := n.plugin.Del(ctx, args)
		cancel()
		if failed := err != nil; failed != (attempt < 3) {
			t.Fatalf("DEL %d: %v", attempt, err)
		}
		if n.String() != before {
			t.Fatalf("DEL %d left the bond or its members:\n%s", attempt, n.Fake)
		}
		pid, err := os.ReadFile(child)
		n.must(err)
		number, err := strconv.Atoi(strings.TrimSpace(string(pid)))
		n.must(err)
		waitFor(t, "the plugin's child to be dead", func() bool { return dead(number) })
	}
}

// dead reports whether a process has ended, whether or not its parent has noticed.
func dead(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

// TestIPAMWithADaemon: a plugin that succeeds and leaves a process with its standard output open has succeeded.
func TestIPAMWithADaemon(t *testing.T) {
	n := newNode(t, 1)
	pod := n.pod("p1", 0)
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\nsleep 30 &\nexec %s\n", filepath.Join(plugins, "host-local"))
	n.must(os.WriteFile(filepath.Join(dir, "daemonic"), []byte(script), 0o700)) //nolint:gosec // a program
	args := n.args("c1", pod, n.config(map[string]any{"ipam": map[string]any{"type": "daemonic", "dataDir": n.data, "subnet": "10.0.0.0/24"}}))
	args.Path = dir
	if result := n.mustAdd(args); len(result.IPs) != 1 {
		t.Errorf("IPs %v", result.IPs)
	}
	n.mustDel(args)
}

// TestLateRelease: while a release by the agent is with IPAM, no ADD of the same container ID and interface gets an address.
// The release would take that address, for IPAM knows it by these two only.
func TestLateRelease(t *testing.T) {
	n, g := newNode(t, 1), newGate(t)
	pod := n.pod("p1", 0)
	before := n.String()
	args := g.args(n, pod)
	n.must(os.Remove(filepath.Join(g.dir, "hold-ADD")))
	n.mustAdd(args)
	r := n.record("c1")
	r.Phase = bond.PhaseDeleting // its DEL was killed
	n.must(n.store.Save(r))
	g.touch(t, "hold-DEL")
	released := make(chan error, 1)
	go func() {
		released <- n.engine().ReleaseRecord(t.Context(), r)
	}()
	waitFor(t, "the agent's call", g.entered)
	n.must(os.Remove(filepath.Join(g.dir, "hold-DEL")))
	short := func(verb func(context.Context, *skel.CmdArgs) error) error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second+300*time.Millisecond)
		defer cancel()
		return withCNICode(verb(ctx, args))
	}
	cnitest.WantError(t, short(n.plugin.Del), types.ErrTryAgainLater, "another call of the IPAM plugin")
	cnitest.WantError(t, short(n.plugin.Add), types.ErrTryAgainLater, "another call of the IPAM plugin")
	added := n.adding(args)
	g.touch(t, "open")
	n.must(<-released)
	n.must(<-added)
	n.endsReady(args, before)
}

// TestLateReleaseWithoutRecord is the same for a DEL that found no record.
func TestLateReleaseWithoutRecord(t *testing.T) {
	n, g := newNode(t, 1), newGate(t)
	pod := n.pod("p1", 0)
	before := n.String()
	args := g.args(n, pod)
	n.must(os.Remove(filepath.Join(g.dir, "hold-ADD")))
	g.touch(t, "hold-DEL")
	deleted := n.deleting(args)
	waitFor(t, "DEL's call", g.entered)
	n.must(os.Remove(filepath.Join(g.dir, "hold-DEL")))
	added := n.adding(args)
	lock := filepath.Join(n.dir, "locks", "ipam-c1@bond0.lock")
	waitFor(t, "the new ADD to wait for the lock of the addresses, or to end", func() bool { return len(added) > 0 || awaited(lock) })
	g.touch(t, "open")
	n.must(<-deleted)
	n.must(<-added)
	n.endsReady(args, before)
}

// awaited reports whether somebody waits for a lock of the store: it is first in line (pkg/store).
func awaited(path string) bool {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	inLine := unix.Flock_t{Type: unix.F_WRLCK}
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &inLine) == nil && inLine.Type != unix.F_UNLCK
}

// TestDelOnAFullDisk: without room for one more file, not even for a lock, the bond is taken down by the first DEL and the third
// succeeds. The agent releases the address when there is room again.
func TestDelOnAFullDisk(t *testing.T) {
	n := newNode(t, 1)
	pod := n.pod("p1", 0)
	before := n.String()
	n.must(unix.Mount("tmpfs", n.dir, "tmpfs", 0, "size=256k,nr_inodes=64,mode=0700"))
	t.Cleanup(func() { _ = unix.Unmount(n.dir, unix.MNT_DETACH) })
	args := n.args("c1", pod, n.config(nil))
	n.mustAdd(args)
	filler := filepath.Join(n.dir, "filler")
	n.must(os.Mkdir(filler, 0o700))
	var full error
	for i := 0; full == nil; i++ {
		full = os.WriteFile(filepath.Join(filler, strconv.Itoa(i)), nil, 0o600)
	}
	for attempt := 1; attempt <= 3; attempt++ {
		if err := n.del(args); (err != nil) != (attempt < 3) {
			t.Fatalf("DEL %d: %v", attempt, err)
		}
		if n.String() != before {
			t.Fatalf("DEL %d left the bond or its members:\n%s", attempt, n.Fake)
		}
	}
	n.mustDel(n.args("c2", pod, n.config(nil))) // without a record
	n.must(os.RemoveAll(filler))
	n.must(n.engine().ReleaseRecord(t.Context(), n.record("c1")))
	n.nothingLeft(before)
}

// TestDelOnAReadOnlyDisk: DEL of a bond without a record succeeds. One with a record fails, for nothing may be taken down that an
// agent would repair.
func TestDelOnAReadOnlyDisk(t *testing.T) {
	n := newNode(t, 1)
	pod := n.pod("p1", 0)
	before := n.String()
	n.must(unix.Mount("tmpfs", n.dir, "tmpfs", 0, "mode=0700"))
	t.Cleanup(func() { _ = unix.Unmount(n.dir, unix.MNT_DETACH) })
	args := n.args("c1", pod, n.config(nil))
	n.mustAdd(args)
	n.must(unix.Mount("", n.dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	cnitest.WantError(t, n.del(args), types.ErrIOFailure, "read-only")
	n.mustDel(n.args("c2", pod, n.config(nil)))
	n.must(unix.Mount("", n.dir, "", unix.MS_REMOUNT, ""))
	n.mustDel(args)
	n.nothingLeft(before)
}
