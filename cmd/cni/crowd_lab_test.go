//go:build lab

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// crowdLimit is the memory that the agent and a DEL get in TestCrowdedPod, each in a cgroup without swap.
const crowdLimit = 64 << 20

// crowdSize is what else is in the pod. The full size (make crowd) takes minutes in an emulated machine.
func crowdSize() crowd {
	if os.Getenv("BONDKEEPER_CROWD") != "" {
		return crowd{routes: 800_000, own: 200_000, links: 10_000, addresses: 10_000}
	}
	return crowd{routes: 60_000, own: 20_000, links: 500, addresses: 1_000}
}

// TestCrowdedPod: other objects in a pod cost the agent and a DEL no memory. With 64 MiB each, they repair and delete a
// bond in a pod with many routes, links and addresses. The times are printed beside those of a quiet pod. They are also
// printed beside the kernel's own for the same changes in the same pod, as it walks the routes when a link goes down or
// up.
func TestCrowdedPod(t *testing.T) {
	quiet := livesOnce(t, crowd{})
	full := livesOnce(t, crowdSize())
	t.Logf("%+v: first report after %s, %.1f times that of a quiet pod; agent at most %d MiB (quiet %d), DEL %d MiB (quiet %d)", crowdSize(),
		full.ready.Round(time.Millisecond), float64(full.ready)/float64(quiet.ready), full.agent>>20, quiet.agent>>20, full.delPeak>>20, quiet.delPeak>>20)
	t.Log("repair: " + beside(full.repair, quiet.repair, full.kernelRepair, quiet.kernelRepair))
	t.Log("repair at worst: " + beside(full.worst, quiet.worst, full.kernelRepair, quiet.kernelRepair))
	t.Log("DEL: " + beside(full.del, quiet.del, full.kernelDel, quiet.kernelDel))
}

// beside compares a time with that of a quiet pod, and with the kernel's own in both.
func beside(now, quiet, kernel, kernelQuiet time.Duration) string {
	return fmt.Sprintf("%s, quiet %s: %.1f times; the kernel alone %s, quiet %s; without the kernel's %.1f times", now.Round(time.Millisecond), quiet.Round(time.Millisecond),
		float64(now)/float64(quiet), kernel.Round(time.Millisecond), kernelQuiet.Round(time.Millisecond), float64(now-kernel)/float64(quiet-kernelQuiet))
}

// crowdCost is the cost of one bond's life.
type crowdCost struct {
	ready, repair, worst, del time.Duration // repair is the median
	kernelRepair, kernelDel   time.Duration // the kernel's time for a release and enslaving, and for deletion
	agent, delPeak            int64         // bytes of RSS at most
}

// crowdRepairs is how often a member is lost and returns. A budget limits the repairs after the third.
const crowdRepairs = 3

// livesOnce makes a bond, lets an agent repair it, and deletes it while the agent runs.
func livesOnce(t *testing.T, c crowd) (cost crowdCost) {
	p := newPod(t)
	p.batch("link add leg1 netns POD type dummy\nlink add leg2 netns POD type dummy\nlink add crowd0 netns POD type dummy", []string{p.name})
	conf := p.local(`"mode":1,"links":[{"name":"leg1"},{"name":"leg2"}]`, "")
	p.well("ADD", "bond0", conf, nil)
	p.fillWith(c)
	limit := newLimit(t, p.name)

	began := time.Now()
	agent, log := limit.start("../../bin/agent", "run", "--log-format", "json", "--listen", "", "--kubeconfig", "none", "--runtime", "none", "--state-dir", p.state)
	p.wait("the agent's first report\n"+log.String(), func() bool {
		if agent.ended() {
			t.Fatalf("the agent ended: %v\n%s", agent.cmd.ProcessState, log)
		}
		return strings.Contains(log.String(), "Ready")
	})
	cost.ready = time.Since(began)
	var repairs []time.Duration
	for done := range crowdRepairs {
		p.wait("the agent's report of the last repair\n"+log.String(), func() bool { return agent.ended() || strings.Count(log.String(), `"member recovered"`) == done })
		began = time.Now()
		p.ip("-n", p.name, "link", "set", "leg1", "nomaster")
		p.wait("leg1 back in the bond", func() bool { return agent.ended() || p.isEnslaved("leg1") })
		repairs = append(repairs, time.Since(began))
	}
	slices.Sort(repairs)
	cost.repair, cost.worst = repairs[len(repairs)/2], repairs[len(repairs)-1]

	began = time.Now()
	cost.delPeak = limit.del(p, conf)
	cost.del = time.Since(began)
	if agent.ended() {
		t.Fatalf("the agent ended: %v\n%s", agent.cmd.ProcessState, log)
	}
	cost.agent = peakOf(t, agent.cmd.Process.Pid)
	t.Logf("the agent:\n%s", log)
	agent.end()
	if p.isEnslaved("leg1") {
		t.Errorf("leg1 is enslaved after DEL")
	}
	p.nothingRecorded()
	cost.kernelRepair, cost.kernelDel = p.kernelOnly(c)
	return cost
}

// kernelOnly makes a bond like the deleted one, releases and enslaves a member, and deletes the bond, by the same
// requests only.
func (p *pod) kernelOnly(c crowd) (repair, del time.Duration) {
	p.t.Helper()
	for _, line := range []string{"add bare0 type bond mode active-backup miimon 100", "set leg1 master bare0", "set leg2 master bare0", "set bare0 up"} {
		p.ip(append([]string{"-n", p.name, "link"}, strings.Fields(line)...)...)
	}
	p.fillBond("bare0", c.own)
	err := p.inside(func() error {
		var legs [2]netlink.Link
		bare0, err := netlink.LinkByName("bare0")
		for i := range legs {
			if err == nil {
				legs[i], err = netlink.LinkByName(fmt.Sprintf("leg%d", i+1))
			}
		}
		if err != nil {
			return err
		}
		began := time.Now()
		err = errors.Join(netlink.LinkSetNoMaster(legs[0]), netlink.LinkSetMaster(legs[0], bare0))
		repair = time.Since(began)
		began = time.Now()
		err = errors.Join(err, netlink.LinkSetNoMaster(legs[0]), netlink.LinkSetNoMaster(legs[1]), netlink.LinkDel(bare0))
		del = time.Since(began)
		return err
	})
	kit.Must(p.t, err)
	return repair, del
}

func (p *pod) isEnslaved(name string) (enslaved bool) {
	p.t.Helper()
	err := p.inside(func() error {
		l, err := netlink.LinkByName(name)
		enslaved = err == nil && l.Attrs().MasterIndex != 0
		return err
	})
	kit.Must(p.t, err)
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
		kit.Must(t, os.WriteFile(file, []byte(text), 0))
	}
	write(root+"/cgroup.subtree_control", "+memory")
	kit.Must(t, os.Mkdir(path, 0o700))
	t.Cleanup(func() { _ = os.Remove(path) })
	write(path+"/memory.max", fmt.Sprint(crowdLimit))
	dir, err := os.Open(path)
	kit.Must(t, err)
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

func (l *limit) start(name string, args ...string) (*limited, *kit.Output) {
	l.t.Helper()
	log := &kit.Output{}
	r := &limited{cmd: l.command(name, args...), done: make(chan struct{})}
	r.cmd.Stdout, r.cmd.Stderr = log, log
	kit.Must(l.t, r.cmd.Start())
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

// del runs the plugin's DEL in the cgroup and returns its peak memory. As a runtime does, it repeats a DEL that fails:
// the agent, which takes the bond down as well, may hold the bond's lock for as long as the kernel needs to delete the
// routes.
func (l *limit) del(p *pod, conf *libcni.PluginConfig) (peak int64) {
	l.t.Helper()
	for try := 1; ; try++ {
		cmd := l.command("../../bin/bond")
		cmd.Env = append(os.Environ(), "CNI_COMMAND=DEL", "CNI_CONTAINERID="+p.name, "CNI_NETNS="+p.netns, "CNI_IFNAME=bond0", "CNI_PATH="+binDir)
		cmd.Stdin = bytes.NewReader(conf.Bytes)
		out, err := cmd.CombinedOutput()
		peak = max(peak, cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss<<10)
		if err == nil {
			return peak
		}
		if !bytes.Contains(out, []byte("locked by another process")) || try == 3 {
			l.t.Fatalf("DEL with %d MiB of memory: %v: %s", crowdLimit>>20, err, out)
		}
		l.t.Logf("DEL is repeated: %s", out)
	}
}

// peakOf is the most RSS that a process has had.
func peakOf(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	kit.Must(t, err)
	var kib int64
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	t.Fatalf("no VmHWM in\n%s", text)
	return 0
}
