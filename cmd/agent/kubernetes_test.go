package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/bondkeeper/bondkeeper/pkg/status"
)

// What the API server is reached by decides whom bonds are told to, and never whether they are kept.
func TestReporterByKubeconfig(t *testing.T) {
	const kubeconfig = `{"clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
		"contexts": [{"name": "c", "context": {"cluster": "c"}}], "current-context": "c"}`
	good := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(good, []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, kubeconfig, host string
		env                    string // KUBECONFIG
		flag                   bool   // the flag is given though it is empty
		tells, complains, ends bool
	}{
		{name: "a host", kubeconfig: ""},
		{name: "none", kubeconfig: noKubeconfig, host: "127.0.0.1"},
		{name: "a pod without a token", kubeconfig: "", host: "127.0.0.1", complains: true},
		{name: "a file", kubeconfig: good, tells: true},
		{name: "no such file", kubeconfig: good + "x", ends: true},
		{name: "KUBECONFIG", env: good, tells: true},
		{name: "KUBECONFIG wins over the service account", env: good, host: "127.0.0.1", tells: true},
		{name: "KUBECONFIG is a list", env: good + "x:" + good, tells: true},
		{name: "KUBECONFIG names no file", env: good + "x", ends: true},
		{name: "KUBECONFIG is a list of no file", env: good + "x:" + good + "y", ends: true},
		{name: "the flag wins over KUBECONFIG", env: good + "x", kubeconfig: good, tells: true},
		{name: "none wins over KUBECONFIG", env: good, kubeconfig: noKubeconfig},
		{name: "the empty flag wins over KUBECONFIG", env: good, flag: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("KUBERNETES_SERVICE_HOST", c.host)
			t.Setenv("KUBERNETES_SERVICE_PORT", "1")
			t.Setenv("KUBECONFIG", c.env)
			core, logs := observer.New(zap.ErrorLevel)
			s := settings{}
			args := []string{"-node", "n"}
			if c.kubeconfig != "" || c.flag {
				args = append(args, "-kubeconfig", c.kubeconfig)
			}
			if err := parse(runFlags(&s), args); err != nil {
				t.Fatal(err)
			}
			r, err := newReporter(&s, t.TempDir(), nil, zap.New(core))
			if _, tells := r.(*status.Reporter); tells != c.tells || (err != nil) != c.ends || (logs.Len() > 0) != c.complains {
				t.Errorf("got %T, %v, log %v", r, err, logs.All())
			}
			if err != nil {
				return
			}
			ended, end := context.WithCancel(t.Context())
			end()
			if err := r.Run(ended); err != nil { // it ends what the reporter has started
				t.Error(err)
			}
		})
	}
}
