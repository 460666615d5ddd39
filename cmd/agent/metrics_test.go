package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestMetricsPerPod: the metrics of a running agent name pods with --metrics-per-pod only.
func TestMetricsPerPod(t *testing.T) {
	rec := &bond.Record{
		Key: bond.Key{ContainerID: "c0ffee", IfName: "bond0"}, Phase: bond.PhaseReady, Pod: bond.Pod{Namespace: "demo", Name: "named-pod"},
		Sandbox: bond.Sandbox{Path: "/nonexistent", Dev: 1, Inode: 1},
		Spec:    bond.Spec{Options: bond.Options{bond.OptMode: "active-backup"}},
		Members: []bond.Member{{Name: "net1", PCI: "ffff:01:10.0", Original: bond.Original{Name: "net1"}}},
	}
	for _, c := range []struct {
		flags []string
		want  string
	}{
		{nil, ""},
		{[]string{"--metrics-per-pod"}, `bondkeeper_bond_state_info{bond="bond0",namespace="demo",pod="named-pod",state="Down"} 1`},
	} {
		metrics := metricsOfAgent(t, stateDirWith(t, rec), `bondkeeper_bonds{state="Down"} 1`, c.flags...)
		named := []string{}
		for line := range strings.Lines(metrics) {
			if strings.Contains(line, "named-pod") {
				named = append(named, strings.TrimSpace(line))
			}
		}
		if strings.Join(named, "\n") != c.want {
			t.Errorf("with %q the pod is named in %q, want %q", c.flags, named, c.want)
		}
	}
}

// TestUnreadableRecordInMetrics: an agent that was rolled back does not repair the bonds of a newer one, and exports that.
func TestUnreadableRecordInMetrics(t *testing.T) {
	dir := stateDirWith(t)
	kit.WriteFile(t, filepath.Join(dir, "c0ffee@bond0.json"), `{"version":1000,"record":{}}`)
	metricsOfAgent(t, dir, "bondkeeper_unreadable_records 1\n")
}

// metricsOfAgent runs an agent until its metrics have a line, and returns them.
func metricsOfAgent(t *testing.T, dir, line string, flags ...string) string {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	kit.Must(t, err)
	addr := free.Addr().String()
	kit.Must(t, free.Close())
	args := append([]string{"run", "--state-dir", dir, "--listen", addr, "--kubeconfig", "none", "--runtime", "none", "--log-level", "error"}, flags...)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- execute(ctx, args, io.Discard) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("agent %q: %v", args, err)
		}
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	metrics := ""
	kit.Eventually(t, "the metric "+line, func() bool {
		resp, err := client.Get("http://" + addr + "/metrics")
		if err != nil {
			metrics = err.Error()
			return false
		}
		body, err := io.ReadAll(resp.Body)
		kit.Must(t, errors.Join(err, resp.Body.Close()))
		metrics = string(body)
		return strings.Contains(metrics, line)
	}, func() string { return metrics })
	return metrics
}
