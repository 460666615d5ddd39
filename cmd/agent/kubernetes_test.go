package main

import (
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/bondkeeper/bondkeeper/pkg/status"
)

// What the API server is reached by decides whom bonds are told to, and never whether they are kept.
func TestWhomToTell(t *testing.T) {
	const kubeconfig = `{"clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
		"contexts": [{"name": "c", "context": {"cluster": "c"}}], "current-context": "c"}`
	good := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(good, []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, kubeconfig, host string
		tells, complains, ends bool
	}{
		{name: "a host", kubeconfig: ""},
		{name: "none", kubeconfig: noKubeconfig, host: "127.0.0.1"},
		{name: "a pod without a token", kubeconfig: "", host: "127.0.0.1", complains: true},
		{name: "a file", kubeconfig: good, tells: true},
		{name: "no such file", kubeconfig: good + "x", ends: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("KUBERNETES_SERVICE_HOST", c.host)
			t.Setenv("KUBERNETES_SERVICE_PORT", "1")
			core, logs := observer.New(zap.ErrorLevel)
			r, err := newReporter(&settings{kubeconfig: c.kubeconfig, node: "n"}, t.TempDir(), zap.New(core))
			if _, tells := r.(*status.Reporter); tells != c.tells || (err != nil) != c.ends || (logs.Len() > 0) != c.complains {
				t.Errorf("got %T, %v, log %v", r, err, logs.All())
			}
		})
	}
}
