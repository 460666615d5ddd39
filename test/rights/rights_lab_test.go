//go:build lab

package rights

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/doctor"
	"github.com/bondkeeper/bondkeeper/pkg/store"
	"github.com/bondkeeper/bondkeeper/test/heal"
	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/sriovstub"
)

var all = flag.Bool("all", false, "break bonds in every way, and not only in those that ask for different rights")

// enough are the faults whose repair needs every right: another netns, links, options, addresses, and a netns that is
// made when the agent runs.
var enough = []string{
	"VF driver unbind, later bind", "bond deleted", "addresses flushed", "route deleted",
	"bond option changed (miimon)", "pod's netns deleted while a VF is away",
}

// notHere are the faults that stop or kill the agent's process from outside: here that is runc, and the agent goes on.
var notHere = []string{
	"bond option that cannot be changed live", "netlink socket overrun", "agent killed in a storm, started again", "VF configured by the host as it returns",
}

// testTimeout bounds every wait for a line of the agent's.
const testTimeout = 2 * time.Minute

// shared makes the mounts of the guest what they are on a node: systemd shares them.
func shared(t *testing.T) {
	t.Helper()
	kit.Must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""))
}

// What the DaemonSet gives the agent is enough for repairs.
func TestRepairsWithTheseRights(t *testing.T) {
	shared(t)
	c, volumes := agentContainer(t)
	r := newFixture(t, heal.Config{Bin: program(t, specOf(t, c, volumes))})
	sriovFiles(t, r)
	ran := 0
	for _, f := range heal.Faults() {
		if slices.Contains(notHere, f.Name) || !*all && !slices.Contains(enough, f.Name) {
			continue
		}
		ran++
		if result := r.Run(t.Context(), f, func(step string) { t.Log(step) }); result.Err != nil {
			t.Errorf("%s: %v", f.Name, result.Err)
		}
	}
	if ran < len(enough) {
		t.Errorf("%d faults were tried, want %d: have they other names now?", ran, len(enough))
	}
}

func newFixture(t *testing.T, c heal.Config) *heal.Fixture {
	t.Helper()
	r, err := heal.New(t.Context(), c)
	kit.Must(t, err)
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

// missingRight is a right that is removed, and what the agent then logs.
type missingRight struct {
	right, text string
	take        func(*corev1.Container)
}

// without are all rights that have to do with the repair of a bond. With all of them, nothing of that may be logged.
var without = []missingRight{
	{"NET_BROADCAST", "this needs CAP_NET_BROADCAST", capability("NET_BROADCAST")},
	{"SYS_ADMIN", "enter network namespace", capability("SYS_ADMIN")},
	{"NET_ADMIN", "operation not permitted", capability("NET_ADMIN")},
	{"NET_RAW", "cannot announce addresses to neighbours", capability("NET_RAW")},
	{"volume netns", "netns /run/netns/bondpod1 is gone", volume("netns")},
	{"volume sysctl-net", "directory of the sysctls", volume("sysctl-net")},
	{"volume sysctl-net, named", "disable_ipv6: read-only file system", func(c *corev1.Container) { c.Env = nil }},
	{"DAC_READ_SEARCH", "cannot be read; not attached", capability("DAC_READ_SEARCH")},
	{"volume cni-data", "was returned to its owner by sriov-cni", volume("cni-data")},
	{"volume state, writable", "read-only file system", func(c *corev1.Container) { mount(c, "state").ReadOnly = true }},
}

func capability(name corev1.Capability) func(*corev1.Container) {
	return func(c *corev1.Container) {
		c.SecurityContext.Capabilities.Add = slices.DeleteFunc(c.SecurityContext.Capabilities.Add, func(n corev1.Capability) bool { return n == name })
	}
}

func volume(name string) func(*corev1.Container) {
	return func(c *corev1.Container) {
		c.VolumeMounts = slices.DeleteFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == name })
	}
}

func mount(c *corev1.Container, name string) *corev1.VolumeMount {
	return &c.VolumeMounts[slices.IndexFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == name })]
}

// A deleted bond with an IPv6 address, in a netns where IPv6 is off, and a VF in the host: to mend that takes
// every right. With one missing the agent says so; with all it mends it and has nothing to complain of.
func TestEachRightIsNeeded(t *testing.T) {
	shared(t)
	r := newFixture(t, heal.Config{Bin: "../../bin", NoAgent: true})
	pod := r.A.Name
	giveIPv6(t, pod)
	sriovFiles(t, r)
	c, _ := agentContainer(t)
	for _, name := range c.SecurityContext.Capabilities.Add {
		if !slices.ContainsFunc(without, func(w missingRight) bool { return w.right == string(name) }) {
			t.Errorf("no test shows what the capability %s is for", name)
		}
	}
	for _, w := range without {
		t.Run("without "+w.right, func(t *testing.T) {
			c, volumes := agentContainer(t)
			w.take(c)
			spoil(t, pod)
			lines, logged := listen(t, program(t, specOf(t, c, volumes)), w.text)
			if !logged {
				t.Errorf("nothing of %q was logged:\n%s", w.text, strings.Join(lines, "\n"))
			}
			if len(lines) > 0 {
				t.Log(lines[len(lines)-1])
			}
		})
	}
	t.Run("with all", func(t *testing.T) {
		c, volumes := agentContainer(t)
		spoil(t, pod)
		lines, recovered := listen(t, program(t, specOf(t, c, volumes)), `"pod":"demo/`+pod+`"`, `"state":"Ready"`)
		if !recovered {
			t.Errorf("not repaired:\n%s", strings.Join(lines, "\n"))
		}
		for _, line := range lines {
			for _, w := range without {
				if strings.Contains(line, w.text) {
					t.Errorf("with all rights, too: %s", line)
				}
			}
		}
		if out := string(kit.MustIP(t, "-n", pod, "-6", "addr", "show", "dev", heal.BondName)); !strings.Contains(out, "2001:db8::7/64") {
			t.Errorf("the bond's IPv6 address is not there: %s", out)
		}
	})
}

// In its container the doctor finds nothing missing except what the guest does not have: a container runtime, the
// plugin. Without a capability it says so.
func TestDoctorInTheContainer(t *testing.T) {
	shared(t)
	c, volumes := agentContainer(t)
	c.Args = []string{"doctor"}
	failedChecks := func() string {
		t.Helper()
		out, err := exec.Command(filepath.Join(program(t, specOf(t, c, volumes)), "agent"), "doctor", "-o", "json").Output()
		var report doctor.Report
		if jsonErr := json.Unmarshal(out, &report); jsonErr != nil {
			t.Fatalf("%v (%v): %s", jsonErr, err, out)
		}
		var names []string
		for _, f := range report.Findings {
			t.Logf("%s %s: %s", f.Level, f.Check, f.Found)
			if f.Level == doctor.Fail {
				names = append(names, f.Check)
			}
		}
		if (err != nil) != (len(names) > 0) {
			t.Errorf("it ended with %v", err)
		}
		return strings.Join(names, " ")
	}
	if got := failedChecks(); got != "plugin runtime" {
		t.Errorf("lacking: %s", got)
	}
	capability("NET_RAW")(c)
	mount(c, "netns").MountPropagation = nil
	if got := failedChecks(); got != "capabilities netns plugin runtime" {
		t.Errorf("lacking, without NET_RAW and propagation: %s", got)
	}
}

// A runtime that names netns by a process would need more: without the host's processes such a netns is not there.
// The agent says so, and takes nothing down.
func TestNetnsOfAProcess(t *testing.T) {
	shared(t)
	r := newFixture(t, heal.Config{Bin: "../../bin", NoAgent: true})
	pod := r.A.Name
	process := exec.Command("ip", "netns", "exec", pod, "sleep", "inf")
	kit.Must(t, process.Start())
	t.Cleanup(func() { _ = process.Process.Kill(); _ = process.Wait() })
	path := fmt.Sprintf("/proc/%d/ns/net", process.Process.Pid)
	changeRecord(t, pod, func(rec *bond.Record) { rec.Sandbox.Path = path })
	c, volumes := agentContainer(t)
	lines, logged := listen(t, program(t, specOf(t, c, volumes)), path+" is gone")
	if !logged {
		t.Errorf("nothing of it was logged:\n%s", strings.Join(lines, "\n"))
	}
	changeRecord(t, pod, func(rec *bond.Record) { rec.Sandbox.Path = "/run/netns/" + pod })
	kit.MustIP(t, "-n", pod, "link", "show", "dev", heal.BondName)
}

// sriovFiles leaves the files of sriov-cni, which makes the first directories of a node, for the VFs of pod A, and
// records them as ADD does.
func sriovFiles(t *testing.T, r *heal.Fixture) {
	t.Helper()
	for _, path := range []string{sriovstub.DefaultDir, sriovstub.DefaultDir + "/pci"} {
		if _, err := os.Stat(path); err == nil {
			t.Fatalf("%s is there before sriov-cni made it", path)
		}
	}
	t.Cleanup(func() { _ = os.RemoveAll(sriovstub.DefaultDir) })
	changeRecord(t, r.A.Name, func(rec *bond.Record) {
		for i := range rec.Members {
			m := &rec.Members[i]
			a := sriovstub.Args{ContainerID: rec.Key.ContainerID, Netns: rec.Sandbox.Path, IfName: m.Name}
			kit.Must(t, (sriovstub.Plugin{}).Files(a, &sriovstub.NetConf{DeviceID: string(m.PCI)}))
			m.SriovCNI = &bond.SriovCNI{
				Cache: filepath.Join(sriovstub.DefaultDir, rec.Key.ContainerID+"-"+m.Name),
				Claim: filepath.Join(sriovstub.DefaultDir, "pci", string(m.PCI)),
			}
		}
	})
	for _, path := range []string{"", "/pci", "/pci/vf_lock"} {
		if info, err := os.Stat(sriovstub.DefaultDir + path); err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("%s: %v, %v; want mode 0600", sriovstub.DefaultDir+path, info, err)
		}
	}
}

// giveIPv6 adds an address to the pod's record, and switches IPv6 off for links that come into the netns.
func giveIPv6(t *testing.T, pod string) {
	t.Helper()
	changeRecord(t, pod, func(rec *bond.Record) {
		rec.Setup.Complete = time.Now() // otherwise the agent learns that the address is gone
		rec.Addresses = append(rec.Addresses, bond.Address{Prefix: netip.MustParsePrefix("2001:db8::7/64")})
	})
	run(t, "ip", "netns", "exec", pod, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
}

func changeRecord(t *testing.T, pod string, change func(*bond.Record)) {
	t.Helper()
	records, err := store.Open(store.DefaultDir)
	kit.Must(t, err)
	list, _, err := records.List(t.Context())
	kit.Must(t, err)
	for _, rec := range list {
		if rec.Pod.Name != pod {
			continue
		}
		change(rec)
		kit.Must(t, records.Save(rec))
	}
}

// spoil takes a member out of the pod and deletes the bond, as far as they are there.
func spoil(t *testing.T, pod string) {
	t.Helper()
	_ = exec.Command("ip", "-n", pod, "link", "set", "net2", "netns", "1").Run()
	_ = exec.Command("ip", "-n", pod, "link", "del", heal.BondName).Run()
}

// listen runs the agent until it logs a line with all the words, or ends, and returns what it logged until then.
func listen(t *testing.T, dir string, words ...string) (lines []string, logged bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "agent"), "run", "--log-format=json", "--flap-window=1ms")
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	out, err := cmd.StderrPipe()
	kit.Must(t, err)
	kit.Must(t, cmd.Start())
	for scan := bufio.NewScanner(out); scan.Scan(); {
		if logged {
			continue // to its end
		}
		lines = append(lines, scan.Text())
		logged = !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(scan.Text(), w) })
		if logged {
			cancel()
		}
	}
	_ = cmd.Wait() // an agent without a right may end by itself
	return lines, logged
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return string(out)
}
