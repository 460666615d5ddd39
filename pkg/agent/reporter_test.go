package agent

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/zap"

	"github.com/bondkeeper/bondkeeper/pkg/status"
)

// TestReporterByKubeconfig: the kubeconfig decides whether bonds are reported. Only one that cannot be read is an
// error.
func TestReporterByKubeconfig(t *testing.T) {
	const kubeconfig = `{"clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
		"contexts": [{"name": "c", "context": {"cluster": "c"}}], "current-context": "c"}`
	good := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(good, []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, kubeconfig, host string
		reports, returnErr     bool
	}{
		{name: "a host"},
		{name: "none", kubeconfig: NoKubeconfig, host: "127.0.0.1"},
		{name: "a pod without a token", host: "127.0.0.1", reports: true},
		{name: "a file", kubeconfig: good, reports: true},
		{name: "a file in a pod", kubeconfig: good, host: "127.0.0.1", reports: true},
		{name: "no such file", kubeconfig: good + "x", returnErr: true},
		{name: "a list", kubeconfig: good + "x:" + good, reports: true},
		{name: "a list of no file", kubeconfig: good + "x:" + good + "y", returnErr: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("KUBERNETES_SERVICE_HOST", c.host)
			t.Setenv("KUBERNETES_SERVICE_PORT", "1")
			r, err := NewReporter(c.kubeconfig, "n", t.TempDir(), nil, zap.NewNop())
			if _, reports := r.(*status.Reporter); reports != c.reports || (err != nil) != c.returnErr {
				t.Errorf("got %T, %v", r, err)
			}
			if err != nil {
				return
			}
			ended, end := context.WithCancel(t.Context())
			end()
			r.Run(ended) // it ends what the reporter has started
		})
	}
}
