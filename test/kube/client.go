package kube

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// anonymous is how to reach the API server as nobody. Requests are not held back on the client's side.
func (c *ControlPlane) anonymous() *rest.Config {
	return &rest.Config{
		Host:            c.serverPort.url("https"),
		TLSClientConfig: rest.TLSClientConfig{CAData: c.secrets.certPEM},
		QPS:             -1,
	}
}

// configOf is how to reach the API server as a user that it knows by a token.
func (c *ControlPlane) configOf(user string) (*rest.Config, error) {
	token, known := c.secrets.tokens[user]
	if !known {
		return nil, fmt.Errorf("kube: the user %q has no token", user)
	}
	cfg := c.anonymous()
	cfg.BearerToken = token
	return cfg, nil
}

// Config is how to reach the API server as an administrator; the caller may change it.
func (c *ControlPlane) Config() *rest.Config { return rest.CopyConfig(c.admin) }

// As is how to reach the API server as any user, with that user's rights; for instance as a kubelet
// ("system:node:a" in the group "system:nodes").
func (c *ControlPlane) As(user string, groups ...string) *rest.Config {
	cfg := c.Config()
	cfg.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: groups}
	return cfg
}

// Client is an administrator's client.
func (c *ControlPlane) Client() kubernetes.Interface { return c.client }

// Kubeconfig is the file with which an administrator reaches the API server from this machine.
func (c *ControlPlane) Kubeconfig() string { return c.kubeconfig }

// GuestURL is the API server's address in a guest of the lab that has a user network.
func (c *ControlPlane) GuestURL() string {
	return "https://" + net.JoinHostPort(GuestHost, c.serverPort.String())
}

// WriteKubeconfig writes <name>.kubeconfig into Dir, for a configuration with a token, and returns its path. Set the
// configuration's Host to GuestURL for a file that a guest uses.
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

// Kubectl runs kubectl as an administrator and returns what it wrote, standard error included.
func (c *ControlPlane) Kubectl(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, "kubectl"), append([]string{"--kubeconfig=" + c.kubeconfig}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}
