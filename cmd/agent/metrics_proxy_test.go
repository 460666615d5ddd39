package main

import (
	"context"
	"net"
	"path/filepath"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestProxyWaitsForItsPort: another program has the proxy's port. If the proxy ended, the agent's pod would not be ready,
// and the DaemonSet would update no further node. An address that can never be served is an error.
func TestProxyWaitsForItsPort(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0")
	kit.Must(t, err)
	defer other.Close() //nolint:errcheck // the test's own
	config := filepath.Join(t.TempDir(), "kubeconfig")
	kit.WriteFile(t, config, `{"clusters":[{"name":"c","cluster":{"server":"http://127.0.0.1:1"}}],"contexts":[{"name":"c","context":{"cluster":"c"}}],"current-context":"c"}`)
	ended, end := context.WithCancel(t.Context())
	end() // after the first attempt
	if err = proxyMetrics(ended, proxySettings{listen: other.Addr().String(), kubeconfig: config}); err != nil {
		t.Errorf("the port is in use: %v", err)
	}
	if err = proxyMetrics(t.Context(), proxySettings{listen: "nonsense", kubeconfig: config}); err == nil {
		t.Error("an address without a port is accepted")
	}
}
