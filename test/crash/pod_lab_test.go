//go:build lab

package crash

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
	"golang.org/x/sys/unix"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/store"
	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

const (
	netnsName   = "crash"
	bondName    = "bond0"
	leases      = "/var/lib/cni/networks/crash"
	testTimeout = 3 * time.Minute // the agent repeats a failed release after one minute at most
)

const config = `{"type":"bond","cniVersion":"1.0.0","name":"crash","mode":"active-backup","failOverMac":1,"linksInContainer":true,
	"miimon":"100","mtu":1500,"links":[{"name":"net1"},{"name":"net2"}],
	"ipam":{"type":"host-local","subnet":"10.56.0.0/24","routes":[{"dst":"192.168.9.0/24"}]}}`

// pod is a netns with two VFs, in which one bond after another is made.
type pod struct {
	t      *testing.T
	vfs    []string // PCI addresses
	conf   *libcni.NetworkConfig
	bin    string // the directory of the real programs
	links  string // the directory of the links that trace them
	report string
	number int // of the container
	atRest state
}

func newPod(t *testing.T) *pod {
	t.Helper()
	guest, err := topology.Load()
	kit.Must(t, err)
	dir := t.TempDir()
	bin, err := filepath.Abs("../../bin")
	kit.Must(t, err)
	self, err := os.Executable()
	kit.Must(t, err)
	p := &pod{t: t, bin: bin, links: dir, report: filepath.Join(dir, "report.json")}
	for _, name := range []string{"bond", "agent"} {
		if err = os.Symlink(self, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if p.conf, err = libcni.NetworkPluginConfFromBytes([]byte(config)); err != nil {
		t.Fatal(err)
	}
	p.ip("netns", "add", netnsName)
	t.Cleanup(func() { p.ip("netns", "del", netnsName) })
	for i, card := range guest.Cards[:2] {
		pf, err := topology.Netdev(card.PF.PCI)
		kit.Must(t, err)
		p.ip("link", "set", pf, "up")
		p.vfs = append(p.vfs, card.VFs[0].PCI)
		p.intoPod(i)
	}
	for _, dir := range []string{store.DefaultDir, leases} { // a case that failed may have left something
		kit.Must(t, os.RemoveAll(dir))
	}
	add(p) // makes the directories of the state and of the leases
	p.agent(none, "agent started")
	del(p)
	p.atRest = p.state()
	return p
}

// intoPod moves a VF from the host into the pod.
func (p *pod) intoPod(i int) {
	p.t.Helper()
	name, err := topology.Netdev(p.vfs[i])
	kit.Must(p.t, err)
	p.ip("link", "set", name, "netns", netnsName, "name", fmt.Sprintf("net%d", i+1))
}

func (p *pod) ip(args ...string) []byte {
	p.t.Helper()
	return kit.MustIP(p.t, args...)
}

// call runs a verb of the plugin, with a fault. It returns the tracer's report and the verb's error.
func (p *pod) call(f Fault, verb string) (Report, error) {
	p.t.Helper()
	p.traced(f)
	dirs := []string{p.programs(f), filepath.Join(p.bin, "cni")}
	exe := &invoke.DefaultExec{RawExec: &invoke.RawExec{Stderr: io.Discard}, PluginDecoder: version.PluginDecoder{}}
	cni := libcni.NewCNIConfigWithCacheDir(dirs, p.t.TempDir(), exe)
	rt := &libcni.RuntimeConf{ContainerID: fmt.Sprint("c", p.number), NetNS: "/run/netns/" + netnsName, IfName: bondName,
		Args: [][2]string{{"IgnoreUnknown", "1"}, {"K8S_POD_NAMESPACE", "demo"}, {"K8S_POD_NAME", "crash"}}}
	var err error
	if verb == "ADD" {
		_, err = cni.AddNetwork(p.t.Context(), p.conf, rt)
	} else {
		err = cni.DelNetwork(p.t.Context(), p.conf, rt)
	}
	return p.reported(f), err
}

// programs is the directory of the programs to run: the traced ones if there is a fault, which take several times as
// long.
func (p *pod) programs(f Fault) string {
	if f == none {
		return p.bin
	}
	return p.links
}

// traced prepares the environment of the next tracer.
func (p *pod) traced(f Fault) {
	fault, err := json.Marshal(f)
	kit.Must(p.t, err)
	p.t.Setenv(BinEnv, p.bin)
	p.t.Setenv(ReportEnv, p.report)
	p.t.Setenv(FaultEnv, string(fault))
	if err := os.Remove(p.report); err != nil && !errors.Is(err, os.ErrNotExist) {
		p.t.Fatal(err)
	}
}

func (p *pod) reported(f Fault) Report {
	p.t.Helper()
	if f == none {
		return Report{}
	}
	r, err := ReadReport(p.report)
	kit.Must(p.t, err)
	return r
}

// add calls ADD of a new container, which gets the same address as the last one.
func (p *pod) add(f Fault) (Report, error) {
	p.t.Helper()
	p.number++
	if err := os.Remove(filepath.Join(leases, "last_reserved_ip.0")); err != nil && !errors.Is(err, os.ErrNotExist) {
		p.t.Fatal(err)
	}
	return p.call(f, "ADD")
}

func (p *pod) del(f Fault) (Report, error) {
	p.t.Helper()
	return p.call(f, "DEL")
}

// killed checks the result of a verb that was to be killed. The verb may fail only if it was.
func (p *pod) killed(r Report, err error) Report {
	p.t.Helper()
	if r.Hit == 0 && err != nil {
		p.t.Fatalf("container c%d: %v", p.number, err)
	}
	var coded *types.Error
	if r.Hit > 0 && (err == nil || errors.As(err, &coded) && coded.Code != types.ErrInternal && coded.Code != 0) {
		p.t.Fatalf("killed before %q: %v", r.hit(), err)
	}
	return r
}

// sweep removes what killed processes left (locks, deletion marks and unfinished files), as a running agent does once
// it is old.
func (p *pod) sweep() {
	p.t.Helper()
	records, err := store.Open(store.DefaultDir)
	kit.Must(p.t, err)
	old := time.Now().Add(-24 * time.Hour)
	for _, dir := range []string{"tmp", "reserve", "locks", "deletions"} {
		for _, f := range filesBelow(p.t, filepath.Join(store.DefaultDir, dir)) {
			if err = os.Chtimes(f, old, old); err != nil {
				p.t.Fatal(err)
			}
		}
	}
	_, _, err = records.List(p.t.Context())
	if err = errors.Join(err, records.SweepLocks(p.t.Context())); err != nil {
		p.t.Fatal(err)
	}
}

// state is everything that a bond could leave: the pod's links and addresses, the store's files, and the leases.
type state struct {
	links  string
	files  []string
	leases []string
}

func (p *pod) state() state {
	p.t.Helper()
	type link struct {
		Name, MAC, Master string
		MTU               int
		Parent            string
		AltNames          []string
		Up                bool
	}
	var raw []struct {
		Name     string   `json:"ifname"`
		MAC      string   `json:"address"`
		Master   string   `json:"master"`
		MTU      int      `json:"mtu"`
		Parent   string   `json:"parentdev"`
		AltNames []string `json:"altnames"`
		Flags    []string `json:"flags"`
	}
	kit.Must(p.t, json.Unmarshal(p.ip("-n", netnsName, "-j", "-d", "link"), &raw))
	var links []string
	for _, l := range raw {
		links = append(links, fmt.Sprintf("%+v", link{l.Name, l.MAC, l.Master, l.MTU, l.Parent, l.AltNames, slices.Contains(l.Flags, "UP")}))
	}
	slices.Sort(links)
	s := state{links: strings.Join(links, "\n"), files: filesBelow(p.t, store.DefaultDir)}
	for _, f := range filesBelow(p.t, leases) {
		if name := filepath.Base(f); name != "lock" && !strings.HasPrefix(name, "last_reserved_ip") {
			s.leases = append(s.leases, f)
		}
	}
	return s
}

func filesBelow(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			files = append(files, path)
		}
		return err
	})
	kit.Must(t, err)
	return files
}

// leaks lists what differs from before.
func (p *pod) leaks() (leaks []string) {
	p.t.Helper()
	p.sweep()
	now := p.state()
	if now.links != p.atRest.links {
		leaks = append(leaks, fmt.Sprintf("links:\n%s\nwant:\n%s", now.links, p.atRest.links))
	}
	if !slices.Equal(now.files, p.atRest.files) {
		leaks = append(leaks, fmt.Sprintf("files of the store: %q, want %q", now.files, p.atRest.files))
	}
	if !slices.Equal(now.leases, p.atRest.leases) {
		leaks = append(leaks, fmt.Sprintf("leases: %q", now.leases))
	}
	return leaks
}

// agent runs the agent with a fault, until it logs a line with all the words.
func (p *pod) agent(f Fault, words ...string) (r Report, ended bool) {
	p.t.Helper()
	return p.agentUntil(f, func() string { return "" }, words...)
}

// agentUntil runs the agent with a fault, until it has logged a line with all the words, and missing returns "". ended:
// the agent ended before.
func (p *pod) agentUntil(f Fault, missing func() string, words ...string) (r Report, ended bool) {
	p.t.Helper()
	p.traced(f)
	ctx, cancel := context.WithTimeout(p.t.Context(), testTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(p.programs(f), "agent"), "run", "--runtime", "none", "--kubeconfig", "none", "--listen", "",
		"--grace", "1ms", "--setup-quiet", "100ms", "--log-format", "json")
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	kit.Must(p.t, err)
	var log []string
	logged, stopped, left := false, false, ""
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for lines := linesOf(stderr); lines != nil; {
		select {
		case line, open := <-lines:
			if !open {
				lines = nil
				break
			}
			log = append(log, line)
			logged = logged || !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) })
		case <-again.C:
		}
		if !logged || stopped || lines == nil {
			continue
		}
		if left = missing(); left == "" {
			stopped = true
			_ = cmd.Process.Signal(unix.SIGTERM)
		}
	}
	err = cmd.Wait()
	if ctx.Err() != nil {
		p.t.Fatalf("within %s the agent did not log %q (%t), or did not do what was expected: %s\n%s", testTimeout, words, logged, left, strings.Join(log, "\n"))
	}
	r, ended = p.reported(f), !stopped || err != nil
	if ended && r.Hit == 0 {
		p.t.Fatalf("the agent ended (%v) and did not log %q:\n%s", err, words, strings.Join(log, "\n"))
	}
	return r, ended
}

// linesOf returns the lines of a stream.
func linesOf(stream io.Reader) <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(stream); s.Scan(); {
			lines <- s.Text()
		}
	}()
	return lines
}

// deleted reports whether the record on disk is a tombstone.
func (p *pod) deleted() bool {
	p.t.Helper()
	list := p.records()
	return len(list) == 1 && list[0].Deleted()
}

// records are those on disk.
func (p *pod) records() []*bond.Record {
	p.t.Helper()
	records, err := store.Open(store.DefaultDir)
	kit.Must(p.t, err)
	list, _, err := records.List(p.t.Context())
	kit.Must(p.t, err)
	return list
}
