//go:build kube

package status_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/status"
)

// sizeVar is the number of nodes and of bonds on each, as "500x30". A pod has one bond.
const sizeVar = "BONDKEEPER_LOAD"

// TestLoad runs one real reporter per simulated node against one API server, and prints what that costs. Each reporter
// has the rates of an agent, and its own credentials and connection.
func TestLoad(t *testing.T) {
	nodes, bonds := 20, 5
	if size := os.Getenv(sizeVar); size != "" {
		if _, err := fmt.Sscanf(size, "%dx%d", &nodes, &bonds); err != nil {
			t.Fatalf("%s=%q: want nodes x bonds, as 500x30", sizeVar, size)
		}
	}
	f := newFleet(t, nodes, bonds)
	all := nodes * bonds
	t.Logf("LOAD %d nodes with %d bonds each, one agent per node, %d requests per second and agent after %d at once", nodes, bonds, 2, 10)

	start := f.phase("start", func() { f.report(bondOf) })
	start.atLeast(t, all, all, 0)

	f.phase("at rest", func() {
		for range 10 {
			f.report(bondOf)
			<-time.After(time.Second)
		}
	}).want(t, 0, 0, 0)

	f.phase("restart", func() { f.restart(); f.report(bondOf) }).want(t, 0, 0, 0)

	one := f.phase("one loss", func() { f.report(lost(0)) })
	one.atLeast(t, 0, all, all)
	f.phase("its repair", func() { f.report(withRepairs(0)) }).atLeast(t, 0, all, all)

	storm := f.phase("storm", func() {
		for n := range 10 { // every bond loses a member and gets it back, ten times in forty seconds
			f.report(lost(n + 1))
			<-time.After(2 * time.Second)
			f.report(withRepairs(n + 1))
			<-time.After(2 * time.Second)
		}
	})
	if storm.patches > 10*all {
		t.Errorf("%s; nothing was merged of %d changes", storm, 20*all)
	}
	f.checkReports(11)
}

// atLeast checks how many requests succeeded. There may be more only if some had no response and were repeated.
func (t tally) atLeast(tb testing.TB, checks, patches, events int) {
	tb.Helper()
	if len(t.failed) == 0 {
		t.want(tb, checks, patches, events)
		return
	}
	// An event whose first response was lost exists already (409).
	if t.checks < checks || t.patches < patches || t.events+t.failed[http.StatusConflict] < events {
		tb.Errorf("%s; want %d checks, %d patches, %d events at least", t, checks, patches, events)
	}
}

func lost(repairs int) func(bond.Pod, string) bond.Status {
	return func(p bond.Pod, ifName string) bond.Status {
		b := bondOf(p, ifName)
		b.Repairs = repairs
		return lose(b)
	}
}

func withRepairs(repairs int) func(bond.Pod, string) bond.Status {
	return func(p bond.Pod, ifName string) bond.Status { return repaired(lost(repairs)(p, ifName)) }
}

// fleet is a number of nodes, each with its reporter.
type fleet struct {
	t     *testing.T
	meter meter
	// wire counts bytes on the connections, with TLS and headers.
	wire  atomic.Int64
	nodes []*simulated
	names string
}

type simulated struct {
	config status.Config
	pods   []bond.Pod
	r      *status.Reporter
	stop   func()
}

func newFleet(t *testing.T, nodes, bonds int) *fleet {
	install.Do(func() { cp.InstallRights(t) })
	f := &fleet{t: t, names: namespace(t)}
	cp.Namespace(t, f.names)
	dir := t.TempDir()
	for i := range nodes {
		name := fmt.Sprintf("load-%d", i)
		cfg := cp.AgentConfig(t, name)
		cfg.Dial = f.dial
		cfg.Wrap(f.meter.wrap)
		n := &simulated{config: status.Config{API: cfg, Node: name, Dir: filepath.Join(dir, name)}, pods: make([]bond.Pod, bonds)}
		f.nodes = append(f.nodes, n)
	}
	f.makePods()
	f.startAll()
	t.Cleanup(f.stopAll)
	return f
}

func (f *fleet) makePods() {
	client, err := kubernetes.NewForConfig(rest.CopyConfig(cp.Config()))
	if err != nil {
		f.t.Fatal(err)
	}
	pods := client.CoreV1().Pods(f.names)
	work := make(chan *simulated)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for n := range work {
				for i := range n.pods {
					made, err := pods.Create(f.t.Context(), podFor(n.config.Node, i), metav1.CreateOptions{})
					if err != nil {
						f.t.Errorf("make a pod: %v", err)
						continue
					}
					n.pods[i] = bond.Pod{Namespace: made.Namespace, Name: made.Name, UID: string(made.UID)}
				}
			}
		})
	}
	for _, n := range f.nodes {
		work <- n
	}
	close(work)
	all.Wait()
	if f.t.Failed() {
		f.t.FailNow()
	}
}

// podFor returns a pod of some size, with Multus's annotation.
func podFor(node string, n int) *corev1.Pod {
	networks := `[{"name":"cluster","interface":"eth0","ips":["10.244.1.7"],"mac":"0a:58:0a:f4:01:07","default":true,"dns":{}},{"name":"demo/bond-net","interface":"bond0","ips":["10.56.217.66"],"mac":"02:00:00:00:00:01","dns":{}}]`
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:        fmt.Sprintf("%s-%d", node, n),
			Annotations: map[string]string{status.NetworkStatus: networks, "k8s.v1.cni.cncf.io/networks": "demo/sriov-net1, demo/sriov-net2, demo/bond-net"},
		},
		Spec: corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "main", Image: "none"}}},
	}
}

func (f *fleet) startAll() {
	for _, n := range f.nodes {
		n.r, n.stop = run(f.t, n.config)
	}
}

func (f *fleet) stopAll() {
	for _, n := range f.nodes {
		n.stop()
	}
}

func (f *fleet) restart() {
	f.stopAll()
	f.startAll()
}

// report reports all bonds to their reporters.
func (f *fleet) report(how func(bond.Pod, string) bond.Status) {
	for _, n := range f.nodes {
		for _, p := range n.pods {
			n.r.Report(how(p, "bond0"))
		}
	}
}

// phase calls do, waits until everything is reported, and prints what that cost.
func (f *fleet) phase(name string, do func()) tally {
	f.t.Helper()
	f.meter.take()
	f.wire.Store(0)
	server, client, begin := f.serverCPU(), ownCPU(f.t), time.Now()
	do()
	settled := f.awaitQuiet()
	took := max(0, settled.Sub(begin))
	got, bytes := f.meter.take(), f.wire.Load()
	serverCPU, clientCPU := f.serverCPU()-server, ownCPU(f.t)-client
	each := "-"
	if requests := got.checks + got.patches + got.events; requests > 0 {
		each = fmt.Sprintf("%.2f ms", 1000*serverCPU/float64(requests))
	}
	f.t.Logf("LOAD %-10s  %6d checks %6d patches %6d events  failed %v  bodies: %d bytes sent, %d received  wire: %d bytes  %.1f s  API server: %.1f s CPU, %s per request  agents and test: %.1f s CPU",
		name, got.checks, got.patches, got.events, got.failed, got.sent, got.got, bytes, took.Seconds(), serverCPU, each, clientCPU)
	return got
}

// awaitQuiet waits until nothing is left to report and no event was written for some seconds, and returns since when.
func (f *fleet) awaitQuiet() time.Time {
	f.t.Helper()
	const quiet = 3 * time.Second
	tick, end := time.NewTicker(100*time.Millisecond), time.After(30*time.Minute)
	defer tick.Stop()
	var before tally
	since := time.Now()
	for {
		f.meter.mu.Lock()
		now := tally{checks: f.meter.checks, patches: f.meter.patches, events: f.meter.events}
		f.meter.mu.Unlock()
		if now.checks != before.checks || now.patches != before.patches || now.events != before.events || f.pending() > 0 {
			before, since = now, time.Now()
		}
		if time.Since(since) > quiet {
			return since
		}
		select {
		case <-tick.C:
		case <-end:
			f.t.Fatalf("%d pods are still to be reported", f.pending())
		}
	}
}

func (f *fleet) pending() int {
	n := 0
	for _, s := range f.nodes {
		n += s.r.PendingPods()
	}
	return n
}

// checkReports reads a pod of each node.
func (f *fleet) checkReports(repairs int) {
	f.t.Helper()
	for _, n := range f.nodes {
		p := n.pods[len(n.pods)-1]
		if list := decode(f.t, get(f.t, p)); len(list) != 1 || list[0].Repairs != repairs {
			f.t.Errorf("pod %s has %+v, want %d repairs", p, list, repairs)
		}
	}
}

// dial gives each agent its own connection: client-go shares those of equal configurations otherwise.
func (f *fleet) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &counted{Conn: c, n: &f.wire}, nil
}

type counted struct {
	net.Conn
	n *atomic.Int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.n.Add(int64(n))
	return n, err
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.n.Add(int64(n))
	return n, err
}

// serverCPU returns the processor time of the API server in seconds, from its metrics.
func (f *fleet) serverCPU() float64 {
	f.t.Helper()
	const metric = "process_cpu_seconds_total "
	text, err := cp.Client().CoreV1().RESTClient().Get().AbsPath("/metrics").SetHeader("Accept", "text/plain").Do(f.t.Context()).Raw()
	if err != nil {
		f.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, metric); ok {
			seconds, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				f.t.Fatal(err)
			}
			return seconds
		}
	}
	f.t.Fatalf("the API server has no metric %s", metric)
	return 0
}

// ownCPU returns the processor time of this process: all agents and the test.
func ownCPU(t *testing.T) float64 {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}
