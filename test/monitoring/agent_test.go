//go:build kube

package monitoring

import (
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/link/linktest/scenario"
	"github.com/bondkeeper/bondkeeper/pkg/status"
	"github.com/bondkeeper/bondkeeper/pkg/store"
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

// startAgent runs an agent with one record, of a pod whose netns is gone. It returns the address of its metrics, which is
// this process's own: no other program listens there.
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

// bondsInEachState serves the metrics of an agent with a bond in each state. It returns their address.
func bondsInEachState(t *testing.T) (addr string) {
	t.Helper()
	bonds := status.NewBondMetrics(false)
	for i, state := range bond.States() {
		bonds.Report(bond.Status{Key: bond.Key{ContainerID: fmt.Sprint("c", i), IfName: "bond0"}, State: state, Fighting: i & 1})
	}
	all := client.NewRegistry()
	kit.Must(t, bonds.Register(all))
	server := httptest.NewServer(promhttp.HandlerFor(all, promhttp.HandlerOpts{}))
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

// TestPrometheus: a real Prometheus scrapes a running agent and evaluates each rule. Alerts are pending when their
// expressions have a result.
func TestPrometheus(t *testing.T) {
	p := startPrometheus(t, jobs{targets(map[string]string{"real": startAgent(t), "states": bondsInEachState(t)})})
	p.await(t, `up{job="bondkeeper", node="real"} == 1`)
	// The pod's netns is gone.
	p.await(t, `bondkeeper_bonds{node="real", state="Down"} == 1`)
	p.await(t, `node:bondkeeper_bonds:sum{node="real"} == 1`)
	p.await(t, `node:bondkeeper_bonds_ready:ratio{node="states"} == 0.2`)
	// The API server rejects what the agent reports, because it was given no rights.
	want := []string{"BondDegraded", "BondDown", "BondFighting", "BondStuck", "RepairSlow", "RequestsRejected", "StatusPending"}
	kit.Eventually(t, "the alerts", func() bool { return slices.Equal(p.active(t), want) }, func() string { return fmt.Sprint(p.active(t)) })
	rules, err := p.rules()
	kit.Must(t, err)
	for _, r := range rules {
		if r.Health != "ok" || r.LastError != "" {
			t.Errorf("rule %s: %s %s", r.Name, r.Health, r.LastError)
		}
	}
}
