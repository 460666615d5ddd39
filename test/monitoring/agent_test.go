//go:build kube

package monitoring

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/bondkeeper/bondkeeper/pkg/agent"
	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/status"
	"github.com/bondkeeper/bondkeeper/pkg/store"
	"github.com/bondkeeper/bondkeeper/pkg/watch"
	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/kube"
)

var cp *kube.ControlPlane

// program is the agent, built for all tests.
var program string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "bondkeeper-monitoring-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	program = filepath.Join(dir, "agent")
	if out, err := exec.Command("go", "build", "-ldflags=-s -w", "-o", program, "../../cmd/agent").CombinedOutput(); err != nil {
		panic(fmt.Sprintf("%v: %s", err, out))
	}
	return kube.Main(m, &cp)
}

// startAgent runs an agent with one record, of a pod whose netns is gone. It returns the address of its metrics, which
// is this process's own: no other program listens there.
func startAgent(t *testing.T) (addr string) {
	t.Helper()
	records, err := store.Open(filepath.Join(t.TempDir(), "state"))
	kit.Must(t, err, records.Save(scenario.New(scenario.OKD()).Record))
	kubeconfig, err := cp.WriteKubeconfig("agent", cp.AgentConfig(t, "real"))
	kit.Must(t, err)
	pid := os.Getpid()
	addr = fmt.Sprintf("127.%d.%d.%d:9719", 64+pid>>16, pid>>8&0xff, pid&0xff)
	start(t, program, "run", "--state-dir="+records.Dir(), "--kubeconfig="+kubeconfig, "--node=real", "--runtime=none", "--listen="+addr)
	return addr
}

// busy serves the metrics of an agent with a bond in each state. Between two scrapes, everything happens that is
// counted.
type busy struct {
	repairs *status.RepairMetrics
	events  atomic.Uint64
	metrics http.Handler
}

func (b *busy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.events.Add(1)
	b.repairs.Lost(bond.SubjectMember, "MemberLost")
	b.repairs.Recovered(bond.SubjectMember, "MemberLost", time.Second, time.Second/2)
	b.repairs.Abandoned(bond.SubjectMember, "MemberLost")
	b.repairs.ActionFailed("Enslave")
	b.repairs.FoundByResync("PFDrift")
	b.metrics.ServeHTTP(w, r)
}

// Stats, Finished, Busy and FailedReleases are those of an agent with lost events and a failed release.
func (b *busy) Stats() watch.Stats {
	n := b.events.Load()
	return watch.Stats{Events: n, Relevant: n, Overruns: n}
}
func (b *busy) Finished() uint64    { return b.events.Load() }
func (b *busy) Busy() bool          { return false }
func (b *busy) FailedReleases() int { return 1 }

// startBusy returns the address of a busy agent's metrics.
func startBusy(t *testing.T) (addr string) {
	t.Helper()
	bonds := status.NewBondMetrics(true)
	for i, state := range bond.States() {
		bonds.Report(bond.Status{
			Key: bond.Key{ContainerID: fmt.Sprint("c", i), IfName: "bond0"}, Pod: bond.Pod{Namespace: "demo", Name: fmt.Sprint("pod", i)},
			State: state, Fighting: i & 1, Contested: i & 1,
			Members: []bond.MemberStatus{{State: bond.MemberLost}, {State: bond.MemberActive}},
		})
	}
	reporter, err := agent.NewReporter(agent.NoKubeconfig, "busy", t.TempDir(), nil, zap.NewNop())
	kit.Must(t, err)
	b := &busy{repairs: agent.NewRepairMetrics()}
	all, err := agent.NewMetrics(agent.Sources{Version: "test", Bonds: bonds, Repairs: b.repairs, Reporter: reporter, Monitor: b, Worker: b, Unreadable: new(atomic.Int64)})
	kit.Must(t, err)
	b.metrics = promhttp.HandlerFor(all, promhttp.HandlerOpts{})
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// targets is a scrape config with the labels that the PodMonitor gives. The node is named after its target.
func targets(addrs map[string]string) map[string]any {
	var all []any
	for node, addr := range addrs {
		all = append(all, map[string]any{"targets": []string{addr}, "labels": map[string]string{"node": node}})
	}
	return map[string]any{"job_name": "bondkeeper", "static_configs": all}
}

// TestPrometheus: a real Prometheus scrapes running agents, and evaluates each rule and each query of the dashboard.
// All metrics in them are exported, and every query has a result.
func TestPrometheus(t *testing.T) {
	p := startPrometheus(t, jobs{targets(map[string]string{"real": startAgent(t), "busy": startBusy(t), "away": "127.0.0.1:1"})})
	p.await(t, `up{job="bondkeeper", node="real"} == 1`)
	// The pod's netns is gone.
	p.await(t, `bondkeeper_bonds{node="real", state="Down"} == 1`)
	p.await(t, `node:bondkeeper_bonds:sum{node="real"} == 1`)
	p.await(t, `node:bondkeeper_bonds_ready:ratio{node="busy"} == 0.2`)
	// The API server rejects what the agent reports, because it was given no rights.
	want := []string{
		"AgentNotScraped", "BondDegraded", "BondDown", "BondFighting", "BondStuck", "KernelEventsLost", "LossesFrequent", "ReleaseFailing",
		"RepairSlow", "RequestsRejected", "StatusPending",
	}
	kit.Eventually(t, "the alerts", func() bool { return slices.Equal(p.firing(t), want) }, func() string { return fmt.Sprint(p.firing(t)) })
	rules, err := p.rules()
	kit.Must(t, err)
	for _, r := range rules {
		if r.Health != "ok" || r.LastError != "" {
			t.Errorf("rule %s: %s %s", r.Name, r.Health, r.LastError)
		}
	}
	queries := dashboardQueries(t)
	for _, q := range queries {
		p.await(t, q)
	}
	checkPicture(t, p, len(queries))
	_, all := ruleFile(t)
	for _, r := range all {
		queries = append(queries, r.Expr)
	}
	for _, q := range queries {
		for _, name := range regexp.MustCompile(`\bbondkeeper_[a-z_]+\b`).FindAllString(q, -1) {
			if len(p.query(t, fmt.Sprintf(`{__name__="%s", job="bondkeeper"}`, name))) == 0 && !strings.Contains(q, ":"+name) {
				t.Errorf("no agent exports %s, used in %s", name, q)
			}
		}
	}
}
