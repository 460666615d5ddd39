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
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestDelOfWhatAddRejects: DEL succeeds with each config and container ID that ADD rejects, and creates nothing. The
// state directory of the last rows exists, but cannot be used.
func TestDelOfWhatAddRejects(t *testing.T) {
	n := newNode(t, 1)
	pod := n.Pod("p1", 0)
	file, shared := filepath.Join(t.TempDir(), "file"), filepath.Join(t.TempDir(), "shared")
	n.Must(errors.Join(os.WriteFile(file, nil, 0o600), os.Mkdir(shared, 0o700), os.Chmod(shared, 0o777))) //nolint:gosec // that is the point
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
			args := n.Args("c1", pod, n.Config(change))
			if _, err := n.Add(args); err == nil {
				t.Fatal("ADD succeeded")
			}
			for range 2 {
				n.MustDel(args)
			}
			if after := n.files(); !slices.Equal(after, before) {
				t.Errorf("files before %q, after %q", before, after)
			}
			n.WantNothingLeft(links)
		})
	}
	for name, args := range map[string]*skel.CmdArgs{
		"long container ID": n.Args(strings.Repeat("c", 201), pod, n.Config(nil)),
		"odd container ID":  n.Args("a@b", pod, n.Config(nil)),
		"CNI_ARGS":          {ContainerID: "c1", IfName: "bond0", Netns: pod, Path: plugins, Args: "nonsense", StdinData: n.Config(nil)},
		"host's netns":      n.Args("c1", "/host", n.Config(nil)),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := n.Add(args); err == nil {
				t.Fatal("ADD succeeded")
			}
			n.MustDel(args)
		})
	}
	cnitest.WantError(t, n.Del(n.Args("c1", pod, []byte("{"))), types.ErrDecodingFailure, "network config")
}

// TestDelWithAnEditedConfig: a bond with a record is released, whatever DEL's own config contains.
func TestDelWithAnEditedConfig(t *testing.T) {
	n := newNode(t, 1)
	pod := n.Pod("p1", 0)
	before := n.String()
	n.MustAdd(n.Args("c1", pod, n.Config(nil)))
	n.MustDel(n.Args("c1", pod, n.Config(map[string]any{"ipam": "none", "name": 7, "mode": nil})))
	n.WantNothingLeft(before)
}

// TestDelWithUnusableState: if the state directory with a record cannot be used, DEL fails, because the bond exists.
func TestDelWithUnusableState(t *testing.T) {
	n := newNode(t, 1)
	args, _ := n.OnePod(nil)
	n.MustAdd(args)
	n.Must(os.Chmod(n.Dir, 0o777)) //nolint:gosec // that is the point
	cnitest.WantError(t, n.Del(args), types.ErrInternal, "others may write")
	n.Must(os.Chmod(n.Dir, 0o700)) //nolint:gosec // a directory
	n.MustDel(args)
}

// TestIPAMThatNeverWorked: the IPAM plugin rejects the config in ADD and in DEL, so nothing is known to be allocated.
// DEL succeeds with the third attempt; the tenth removes the record.
func TestIPAMThatNeverWorked(t *testing.T) {
	n := newNode(t, 1)
	args, before := n.OnePod(map[string]any{"ipam": map[string]any{"type": "host-local", "subnet": "10.0.0.0/99"}})
	_, err := n.Add(args)
	cnitest.WantError(t, err, types.ErrInternal, "10.0.0.0/99") // the first attempt
	if err := n.Del(args); err == nil {
		t.Error("the second attempt is not the last")
	}
	n.MustDel(args)
	for range 6 {
		if err := n.Engine().ReleaseRecord(t.Context(), n.Record("c1")); err == nil {
			t.Error("given up too early")
		}
	}
	n.Must(n.Engine().ReleaseRecord(t.Context(), n.Record("c1")))
	n.WantNothingLeft(before)
}

// TestIPAMThatHangs: an IPAM plugin that hangs, with hanging children, is killed with them. DEL takes the bond down in
// the remaining time.
func TestIPAMThatHangs(t *testing.T) {
	n := newNode(t, 1)
	pod := n.Pod("p1", 0)
	before := n.String()
	dir := t.TempDir()
	child := filepath.Join(dir, "child")
	script := fmt.Sprintf("#!/bin/sh\n[ $CNI_COMMAND = DEL ] || exec %s\nsleep 600 &\necho $! > %s\nwait\n", filepath.Join(plugins, "host-local"), child)
	kit.Program(t, filepath.Join(dir, "hangs"), script)
	args := n.Args("c1", pod, n.Config(map[string]any{"ipam": map[string]any{"type": "hangs", "dataDir": n.Data, "subnet": "10.0.0.0/24"}}))
	args.Path = dir
	n.MustAdd(args)
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
		n.Must(err)
		number, err := strconv.Atoi(strings.TrimSpace(string(pid)))
		n.Must(err)
		kit.Eventually(t, "the plugin's child to be dead", func() bool { return dead(number) })
	}
}

// dead reports whether a process has ended, reaped or not.
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
	pod := n.Pod("p1", 0)
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\nsleep 30 &\nexec %s\n", filepath.Join(plugins, "host-local"))
	kit.Program(t, filepath.Join(dir, "daemonic"), script)
	args := n.Args("c1", pod, n.Config(map[string]any{"ipam": map[string]any{"type": "daemonic", "dataDir": n.Data, "subnet": "10.0.0.0/24"}}))
	args.Path = dir
	if result := n.MustAdd(args); len(result.IPs) != 1 {
		t.Errorf("IPs %v", result.IPs)
	}
	n.MustDel(args)
}

// TestLateRelease: while IPAM runs a release by the agent, no ADD of the same container ID and interface gets an
// address. The release would release that address, because IPAM identifies it by these two only.
func TestLateRelease(t *testing.T) {
	n := newNode(t, 1)
	g := cnitest.NewHeldIPAM(n.Fixture)
	pod := n.Pod("p1", 0)
	before := n.String()
	args := g.Args(pod)
	n.MustAdd(args)
	r := n.Record("c1")
	r.Phase = bond.PhaseDeleting // its DEL was killed
	n.Must(n.Store.Save(r))
	g.Hold("DEL")
	released := make(chan error, 1)
	go func() {
		released <- n.Engine().ReleaseRecord(t.Context(), r)
	}()
	g.AwaitCall()
	g.Pass("DEL")
	short := func(verb func(context.Context, *skel.CmdArgs) error) error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second+300*time.Millisecond)
		defer cancel()
		return withCNICode(verb(ctx, args))
	}
	cnitest.WantError(t, short(n.plugin.Del), types.ErrTryAgainLater, "another call of the IPAM plugin")
	cnitest.WantError(t, short(n.plugin.Add), types.ErrTryAgainLater, "another call of the IPAM plugin")
	added := n.Start("ADD", args)
	g.Open()
	n.Must(<-released)
	n.Must(<-added)
	n.WantReady(args, before)
}

// TestLateReleaseWithoutRecord is the same for a DEL that found no record.
func TestLateReleaseWithoutRecord(t *testing.T) {
	n := newNode(t, 1)
	g := cnitest.NewHeldIPAM(n.Fixture)
	pod := n.Pod("p1", 0)
	before := n.String()
	args := g.Args(pod)
	g.AddDuringDEL(args, before)
}

// TestDelOnAFullDisk: without space for one more file, not even a lock, the first DEL takes the bond down and the third
// succeeds. The agent releases the address when there is space again.
func TestDelOnAFullDisk(t *testing.T) {
	n := newNode(t, 1)
	pod := n.Pod("p1", 0)
	before := n.String()
	kit.MountTmpfs(t, n.Dir, "size=256k", "nr_inodes=64")
	args := n.Args("c1", pod, n.Config(nil))
	n.MustAdd(args)
	filler := filepath.Join(n.Dir, "filler")
	n.Must(os.Mkdir(filler, 0o700))
	var full error
	for i := 0; full == nil; i++ {
		full = os.WriteFile(filepath.Join(filler, strconv.Itoa(i)), nil, 0o600)
	}
	for attempt := 1; attempt <= 3; attempt++ {
		if err := n.Del(args); (err != nil) != (attempt < 3) {
			t.Fatalf("DEL %d: %v", attempt, err)
		}
		if n.String() != before {
			t.Fatalf("DEL %d left the bond or its members:\n%s", attempt, n.Fake)
		}
	}
	n.MustDel(n.Args("c2", pod, n.Config(nil))) // without a record
	n.Must(os.RemoveAll(filler))
	n.Must(n.Engine().ReleaseRecord(t.Context(), n.Record("c1")))
	n.WantNothingLeft(before)
}

// TestDelOnAReadOnlyDisk: DEL of a bond without a record succeeds. With a record it fails: nothing may be taken down
// that an agent would repair.
func TestDelOnAReadOnlyDisk(t *testing.T) {
	n := newNode(t, 1)
	pod := n.Pod("p1", 0)
	before := n.String()
	kit.MountTmpfs(t, n.Dir)
	args := n.Args("c1", pod, n.Config(nil))
	n.MustAdd(args)
	n.Must(unix.Mount("", n.Dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	cnitest.WantError(t, n.Del(args), types.ErrIOFailure, "read-only")
	n.MustDel(n.Args("c2", pod, n.Config(nil)))
	n.Must(unix.Mount("", n.Dir, "", unix.MS_REMOUNT, ""))
	n.MustDel(args)
	n.WantNothingLeft(before)
}
