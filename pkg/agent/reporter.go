package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/status"
)

// NoKubeconfig is the kubeconfig of an agent without an API server.
const NoKubeconfig = "none"

// checkpointDir is the reporter's directory below the directory of the records; previousCheckpointDir is its earlier
// name.
const checkpointDir, previousCheckpointDir = "reported", "told"

// Reporter reports to the API server; *status.Reporter is one.
type Reporter interface {
	Report(bond.Status)
	Forget(bond.Key)
	Run(context.Context)
	Register(prometheus.Registerer) error
}

// NewReporter returns the reporter for a kubeconfig. A service account that cannot be used yet is tried again later, so
// that bonds are repaired meanwhile; a kubeconfig that cannot be read is an error.
func NewReporter(kubeconfig, node, stateDir string, networkStatus func(bond.Pod), log *zap.Logger) (Reporter, error) {
	c := status.Config{
		Node: node, NetworkStatus: networkStatus, Log: log,
		Dir: filepath.Join(stateDir, checkpointDir), PreviousDir: filepath.Join(stateDir, previousCheckpointDir),
	}
	api, err := APIConfig(kubeconfig)
	switch {
	case kubeconfig == "" && (api != nil || err != nil):
		c.GetAPI = func() (*rest.Config, error) { return APIConfig(kubeconfig) }
	case err != nil:
		return nil, err
	case api == nil:
		log.Info("no API server configured; pod status reporting is disabled")
		return noopReporter{}, nil
	default:
		c.API = api
	}
	return status.NewReporter(c)
}

// APIConfig returns the access to the API server; nil if there is no API server. An empty kubeconfig means the pod's
// service account, if any.
func APIConfig(kubeconfig string) (*rest.Config, error) {
	switch kubeconfig {
	case NoKubeconfig:
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

// noopReporter is the reporter without an API server.
type noopReporter struct{}

func (noopReporter) Report(bond.Status)                   {}
func (noopReporter) Forget(bond.Key)                      {}
func (noopReporter) Run(context.Context)                  {}
func (noopReporter) Register(prometheus.Registerer) error { return nil }
