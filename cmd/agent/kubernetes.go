package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/status"
)

// noKubeconfig is the -kubeconfig of an agent without API server.
const noKubeconfig = "none"

// kubeconfigFlag defines -kubeconfig. As with the tools of client-go, the flag wins over the environment, and that over
// the pod's service account.
func kubeconfigFlag(fs *flag.FlagSet, kubeconfig *string) {
	const env = clientcmd.RecommendedConfigPathEnvVar
	fs.StringVar(kubeconfig, "kubeconfig", os.Getenv(env), "kubeconfig file, or several to be merged, separated by colons; none: no API server; "+
		env+" sets the default; empty means the pod's service account, if any")
}

// checkpointDir is the reporter's directory below the directory of the records; previousCheckpointDir is its earlier name.
const checkpointDir, previousCheckpointDir = "reported", "told"

// reporter reports to the API server; *status.Reporter is one.
type reporter interface {
	Report(bond.Status)
	Forget(bond.Key)
	Run(context.Context) error
	Register(prometheus.Registerer) error
}

// newReporter returns the reporter that the flags configure. Without a usable service account bonds are repaired but not
// reported; an unreadable -kubeconfig is an error.
func newReporter(s *settings, stateDir string, networkStatus func(bond.Pod), log *zap.Logger) (reporter, error) {
	api, err := apiConfig(s.kubeconfig)
	switch {
	case err != nil && s.kubeconfig == "":
		log.Error("pod status reporting is disabled, repair is not; fix the service account token and restart the agent", zap.Error(err))
		return noopReporter{}, nil
	case err != nil:
		return nil, err
	case api == nil:
		log.Info("no API server configured; pod status reporting is disabled")
		return noopReporter{}, nil
	}
	return status.NewReporter(status.Config{
		API: api, Node: s.node, Dir: filepath.Join(stateDir, checkpointDir), PreviousDir: filepath.Join(stateDir, previousCheckpointDir),
		NetworkStatus: networkStatus, Log: log,
	})
}

// apiConfig is how to reach the API server; nil if there is none to reach.
func apiConfig(kubeconfig string) (*rest.Config, error) {
	switch kubeconfig {
	case noKubeconfig:
		return nil, nil
	case "":
		c, err := rest.InClusterConfig()
		if errors.Is(err, rest.ErrNotInCluster) {
			return nil, nil
		}
		return c, err
	}
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig}
	if files := filepath.SplitList(kubeconfig); len(files) > 1 { // client-go skips those that do not exist
		rules = &clientcmd.ClientConfigLoadingRules{Precedence: files}
	}
	merged, err := rules.Load()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", kubeconfig, err)
	}
	c, err := clientcmd.NewDefaultClientConfig(*merged, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", kubeconfig, err)
	}
	return c, nil
}

// defaultNode is what the DaemonSet says, or else the host's name.
func defaultNode() string {
	if name := os.Getenv("NODE_NAME"); name != "" {
		return name
	}
	name, _ := os.Hostname() // empty is found out when it is needed
	return name
}

// noopReporter is the reporter without an API server.
type noopReporter struct{}

func (noopReporter) Report(bond.Status)                   {}
func (noopReporter) Forget(bond.Key)                      {}
func (noopReporter) Run(context.Context) error            { return nil }
func (noopReporter) Register(prometheus.Registerer) error { return nil }
