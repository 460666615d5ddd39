package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	cgroupRoot = "/sys/fs/cgroup"
	// emptyWait is how long the processes of a killed group may take to end, in milliseconds. Only one that hangs in
	// the kernel needs longer.
	emptyWait = 5000
)

// groups makes a control group per command, so that everything that a command started ends with it, even daemons.
type groups struct {
	last atomic.Int64
}

// newGroups makes the groups' parent and enables all controllers, which nothing else in the guest does.
func newGroups() (*groups, error) {
	if err := os.MkdirAll(filepath.Join(cgroupRoot, "lab"), 0o755); err != nil {
		return nil, fmt.Errorf("control group: %w", err)
	}
	controllers, err := os.ReadFile(filepath.Join(cgroupRoot, "cgroup.controllers"))
	if err != nil {
		return nil, fmt.Errorf("control groups: %w", err)
	}
	var enable []string
	for _, c := range strings.Fields(string(controllers)) {
		enable = append(enable, "+"+c)
	}
	control := filepath.Join(cgroupRoot, "cgroup.subtree_control")
	if err := os.WriteFile(control, []byte(strings.Join(enable, " ")), 0); err != nil {
		return nil, fmt.Errorf("control groups: %w", err)
	}
	return &groups{}, nil
}

// group is the control group of one command.
type group struct {
	dir *os.File
}

// make makes a group.
func (g *groups) make() (*group, error) {
	path := filepath.Join(cgroupRoot, "lab", "command-"+strconv.FormatInt(g.last.Add(1), 10))
	if err := os.Mkdir(path, 0o755); err != nil {
		return nil, fmt.Errorf("control group: %w", err)
	}
	dir, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("control group: %w", err)
	}
	return &group{dir: dir}, nil
}

// fd is the descriptor to start a process in the group with.
func (g *group) fd() int { return int(g.dir.Fd()) }

// kill kills every process of the group and waits until they are gone.
func (g *group) kill() error {
	events, err := os.Open(filepath.Join(g.dir.Name(), "cgroup.events"))
	if err != nil {
		return fmt.Errorf("control group: %w", err)
	}
	defer func() { _ = events.Close() }()
	for {
		if err := g.signal(); err != nil {
			return fmt.Errorf("kill a command's processes: %w", err)
		}
		state, err := os.ReadFile(events.Name())
		if err != nil {
			return fmt.Errorf("control group: %w", err)
		}
		if strings.Contains(string(state), "populated 0") {
			return nil
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(events.Fd()), Events: unix.POLLPRI}}, emptyWait)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("control group: %w", err)
		}
		if n == 0 && err == nil {
			return fmt.Errorf("processes of %s do not end", g.dir.Name())
		}
	}
}

// signal sends SIGKILL to the group's processes. Before Linux 5.14 the kernel cannot do that for a group, and processes
// that are started meanwhile are left.
func (g *group) signal() error {
	kill := filepath.Join(g.dir.Name(), "cgroup.kill")
	if _, err := os.Stat(kill); err == nil {
		return os.WriteFile(kill, []byte("1"), 0)
	}
	pids, err := os.ReadFile(filepath.Join(g.dir.Name(), "cgroup.procs"))
	if err != nil {
		return err
	}
	for _, text := range strings.Fields(string(pids)) {
		pid, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

// remove removes the group. It stays if a container runtime has made groups in it, which is harmless.
func (g *group) remove() {
	_ = os.Remove(g.dir.Name())
	_ = g.dir.Close()
}
