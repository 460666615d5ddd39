package kube

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// ApplyPrometheusOperator creates the operator's resource definitions that the manifests use.
func (c *ControlPlane) ApplyPrometheusOperator(t testing.TB) {
	t.Helper()
	root, err := moduleRoot()
	kit.Must(t, err)
	download := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", "github.com/prometheus-operator/prometheus-operator")
	download.Dir = filepath.Join(root, "test/tools/prometheus-operator")
	out, err := download.Output()
	var module struct{ Dir, Error string }
	kit.Must(t, err, json.Unmarshal(out, &module))
	if module.Error != "" {
		t.Fatal(module.Error)
	}
	crds := filepath.Join(module.Dir, "example/prometheus-operator-crd/monitoring.coreos.com_")
	c.Apply(t, crds+"podmonitors.yaml", crds+"prometheusrules.yaml")
	if _, err := c.Kubectl(t.Context(), "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"); err != nil {
		t.Fatal(err)
	}
}
