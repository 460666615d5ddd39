package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestProbeWithATakenPort: another program on the node has the agent's port. The probes of the manifests succeed, and
// the doctor names the port.
func TestProbeWithATakenPort(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0")
	kit.Must(t, err)
	defer other.Close() //nolint:errcheck // the test's own
	t.Setenv(agentEnv, "unix:"+filepath.Join(t.TempDir(), "agent.sock"))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- execute(ctx, []string{
			"run", "--state-dir", stateDirWith(t), "--listen", other.Addr().String(), "--kubeconfig", "none", "--runtime", "none", "--log-level", "error",
		}, io.Discard)
	}()
	var out bytes.Buffer
	kit.Eventually(t, "the agent to be ready", func() bool { return execute(t.Context(), []string{"probe", "ready"}, io.Discard) == nil })
	if err := execute(t.Context(), []string{"probe", "live"}, &out); err != nil || out.String() != "ok\n" {
		t.Errorf("probe live: %q, %v", out.String(), err)
	}
	kit.Eventually(t, "the doctor to name the port", func() bool {
		out.Reset()
		_ = execute(t.Context(), []string{"doctor", "--kubeconfig", "none", "--runtime", "none"}, &out)
		return strings.Contains(out.String(), "cannot serve "+other.Addr().String())
	}, out.String)
	stop()
	kit.Must(t, <-ended)
	if err := execute(t.Context(), []string{"probe", "live"}, io.Discard); err == nil {
		t.Error("without an agent the probe succeeds")
	}
}
