package kube

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// anonymous is an API server config without credentials and without client-side rate limits.
func (c *ControlPlane) anonymous() *rest.Config {
	return &rest.Config{
		Host:            c.serverPort.url("https"),
		TLSClientConfig: rest.TLSClientConfig{CAData: c.secrets.certPEM},
		QPS:             -1,
	}
}

// configOf is an API server config of a user with a static token.
func (c *ControlPlane) configOf(user string) (*rest.Config, error) {
	token, known := c.secrets.tokens[user]
	if !known {
		return nil, fmt.Errorf("kube: the user %q has no token", user)
	}
	cfg := c.anonymous()
	cfg.BearerToken = token
	return cfg, nil
}

// Config is an administrator's API server config; the caller may change it.
func (c *ControlPlane) Config() *rest.Config { return rest.CopyConfig(c.admin) }

// As is the API server config of any user, with that user's rights; for example of a kubelet ("system:node:a" in the
// group "system:nodes").
func (c *ControlPlane) As(user string, groups ...string) *rest.Config {
	cfg := c.Config()
	cfg.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: groups}
	return cfg
}

// Client is an administrator's client.
func (c *ControlPlane) Client() kubernetes.Interface { return c.client }

// Kubeconfig is an administrator's kubeconfig file on this machine.
func (c *ControlPlane) Kubeconfig() string { return c.kubeconfig }

// GuestURL is the API server's address in a guest of the lab that has a user network.
func (c *ControlPlane) GuestURL() string {
	return "https://" + net.JoinHostPort(GuestHost, c.serverPort.String())
}

// WriteKubeconfig writes <name>.kubeconfig into Dir, for a config with a token, and returns its path. For a file that a
// guest uses, set the config's Host to GuestURL.
func (c *ControlPlane) WriteKubeconfig(name string, cfg *rest.Config) (string, error) {
	const only = "test"
	k := clientcmdapi.NewConfig()
	k.Clusters[only] = &clientcmdapi.Cluster{Server: cfg.Host, CertificateAuthorityData: cfg.CAData}
	k.AuthInfos[only] = &clientcmdapi.AuthInfo{Token: cfg.BearerToken, Impersonate: cfg.Impersonate.UserName, ImpersonateGroups: cfg.Impersonate.Groups}
	k.Contexts[only] = &clientcmdapi.Context{Cluster: only, AuthInfo: only}
	k.CurrentContext = only
	file := filepath.Join(c.dir, name+".kubeconfig")
	if err := clientcmd.WriteToFile(*k, file); err != nil {
		return "", fmt.Errorf("kube: write the kubeconfig %s: %w", file, err)
	}
	return file, nil
}

// Kubectl runs kubectl as an administrator and returns its output, including standard error.
func (c *ControlPlane) Kubectl(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, "kubectl"), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.kubeconfig) // plugins, too, get it so
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}
