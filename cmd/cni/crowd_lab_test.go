//go:build lab

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// crowdLimit is the memory that the agent and a DEL get in TestCrowdedPod, each in a cgroup without swap.
const crowdLimit = 64 << 20

// crowdSize is what else the pod has. The full size (make crowd) takes minutes in an emulated machine.
func crowdSize() crowd {
	if os.Getenv("BONDKEEPER_CROWD") != "" {
		return crowd{routes: 800_000, own: 200_000, links: 10_000, addresses: 10_000}
	}
	return crowd{routes: 100_000, own: 20_000, links: 500, addresses: 1_000}
}

// TestCrowdedPod: what else is in a pod costs the agent and a DEL no memory. Both survive with 64 MiB, and repair and
// delete a bond in a pod with many routes, links and addresses. The times are printed beside those of a quiet pod, and
// beside those that ip needs for the same changes: the kernel walks the routes when a link goes down or up.
func TestCrowdedPod(t *testing.T) {
	quiet := livesOnce(t, crowd{})
	full := livesOnce(t, crowdSize())
	times := func(what string, now, before, bare time.Duration) string {
		return fmt.Sprintf("%s %s (%.1f times that of a quiet pod, %.1f times that of ip)", what, now.Round(time.Millisecond),
			float64(now)/float64(before), float64(now)/float64(bare))
	}
	t.Logf("%+v: first report after %s, %.1f times that of a quiet pod; %s; %s; agent at most %d MiB (quiet %d), DEL %d MiB (quiet %d)",
		crowdSize(), full.ready.Round(time.Millisecond), float64(full.ready)/float64(quiet.ready),
		times("repair", full.repair, quiet.repair, full.bareRepair), times("DEL", full.del, quiet.del, full.bareDel),
		full.agent>>20, quiet.agent>>20, full.delPeak>>20, quiet.delPeak>>20)
}

// crowdCost is what one life of a bond cost.
type crowdCost struct {
	ready, repair, del  time.Duration
	bareRepair, bareDel time.Duration // what ip needs for a release, enslaving, and deletion
	agent, delPeak      int64         // bytes of RSS at most
}

// livesOnce has a bond made, repaired by an agent, and deleted.
func livesOnce(t *testing.T, c crowd) (cost crowdCost) {
	p := newPod(t)
	p.batch("link add leg1 netns POD type dummy\nlink add leg2 netns POD type dummy\nlink add crowd0 netns POD type dummy", []string{p.name})
	conf := p.local(`"mode":1,"links":[{"name":"leg1"},{"name":"leg2"}]`, "")
	p.well("ADD", "bond0", conf, nil)
	p.fillWith(c)
	limit := newLimit(t, p.name)
	cost.bareRepair, cost.bareDel = p.bareChanges()

	began := time.Now()
	agent, log := limit.start("../../bin/agent", "run", "-log-format", "json", "-listen", "", "-kubeconfig", "none", "-runtime", "none", "-state-dir", p.state)
	p.wait("the agent's first report\n"+log.String(), func() bool {
		if agent.ended() {
			t.Fatalf("the agent ended: %v\n%s", agent.cmd.ProcessState, log)
		}
		return strings.Contains(log.String(), "Ready")
	})
	cost.ready = time.Since(began)
	began = time.Now()
	p.ip("-n", p.name, "link", "set", "leg1", "nomaster")
	p.wait("leg1 back in the bond", func() bool { return agent.ended() || p.isEnslaved("leg1") })
	cost.repair = time.Since(began)
	if agent.ended() {
		t.Fatalf("the agent ended: %v\n%s", agent.cmd.ProcessState, log)
	}
	cost.agent = peakOf(t, agent.cmd.Process.Pid)
	t.Logf("the agent:\n%s", log)
	agent.end()

	began = time.Now()
	cost.delPeak = limit.del(p, conf)
	cost.del = time.Since(began)
	if p.isEnslaved("leg1") {
		t.Errorf("leg1 is enslaved after DEL")
	}
	p.nothingRecorded()
	return cost
}

// bareChanges makes a bond, loses and enslaves a member, and deletes the bond, by ip.
func (p *pod) bareChanges() (repair, del time.Duration) {
	p.batch(`link add bare1 netns POD type dummy
link add bare2 netns POD type dummy`, []string{p.name})
	in := func(lines ...string) time.Duration {
		began := time.Now()
		for _, line := range lines {
			p.ip(append([]string{"-n", p.name, "link"}, strings.Fields(line)...)...)
		}
		return time.Since(began)
	}
	in("add bare0 type bond mode active-backup miimon 100", "set bare1 master bare0", "set bare2 master bare0", "set bare0 up")
	repair = in("set bare1 nomaster", "set bare1 down", "set bare1 master bare0", "set bare1 up")
	del = in("set bare1 nomaster", "set bare2 nomaster", "del bare0", "set bare1 down", "set bare2 down")
	in("del bare1", "del bare2")
	return repair, del
}

func (p *pod) isEnslaved(name string) (enslaved bool) {
	p.t.Helper()
	err := p.inside(func() error {
		l, err := netlink.LinkByName(name)
		enslaved = err == nil && l.Attrs().MasterIndex != 0
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return enslaved
}

func (p *pod) nothingRecorded() {
	p.t.Helper()
	if records, _ := filepath.Glob(filepath.Join(p.state, "*.json*")); len(records) > 0 || len(p.leases()) > 0 {
		p.t.Errorf("left: records %v, leases %v", records, p.leases())
	}
}

// limit is a cgroup with crowdLimit of memory.
type limit struct {
	t   *testing.T
	dir *os.File
}

func newLimit(t *testing.T, name string) *limit {
	t.Helper()
	const root = "/sys/fs/cgroup"
	path := filepath.Join(root, name)
	write := func(file, text string) {
		if err := os.WriteFile(file, []byte(text), 0); err != nil {
			t.Fatal(err)
		}
	}
	write(root+"/cgroup.subtree_control", "+memory")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(path) })
	write(path+"/memory.max", fmt.Sprint(crowdLimit))
	dir, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close() })
	return &limit{t: t, dir: dir}
}

// command makes a command that runs in the cgroup from its first instruction on.
func (l *limit) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(l.dir.Fd())}
	return cmd
}

// limited is a running command.
type limited struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func (l *limit) start(name string, args ...string) (*limited, *output) {
	l.t.Helper()
	log := &output{}
	r := &limited{cmd: l.command(name, args...), done: make(chan struct{})}
	r.cmd.Stdout, r.cmd.Stderr = log, log
	if err := r.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	go func() {
		defer close(r.done)
		_ = r.cmd.Wait()
	}()
	l.t.Cleanup(r.end)
	return r, log
}

func (r *limited) ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

func (r *limited) end() {
	_ = r.cmd.Process.Signal(unix.SIGTERM)
	<-r.done
}

// del runs the plugin's DEL in the cgroup and returns its peak memory.
func (l *limit) del(p *pod, conf *libcni.PluginConfig) int64 {
	l.t.Helper()
	cmd := l.command("../../bin/bond")
	cmd.Env = append(os.Environ(), "CNI_COMMAND=DEL", "CNI_CONTAINERID="+p.name, "CNI_NETNS="+p.netns, "CNI_IFNAME=bond0", "CNI_PATH="+binDir)
	cmd.Stdin = bytes.NewReader(conf.Bytes)
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("DEL with %d MiB of memory: %v: %s", crowdLimit>>20, err, out)
	}
	return cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
}

// peakOf is the most RSS that a process has had.
func peakOf(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	var kib int64
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	t.Fatalf("no VmHWM in\n%s", text)
	return 0
}
