package kube

import (
	"context"
	"syscall"
)

// StartServer starts the API server, first or after StopServer, and returns when it is ready. Its address, objects and
// tokens are as before.
func (c *ControlPlane) StartServer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyIn)
	defer cancel()
	s := c.secrets
	server, err := c.run("kube-apiserver",
		"--etcd-servers="+c.etcdPort.url("http"),
		"--bind-address="+loopback.String(), "--secure-port="+c.serverPort.String(), "--permit-port-sharing",
		// The address behind the service kubernetes.default.
		"--advertise-address="+GuestHost, "--service-cluster-ip-range=10.0.0.0/24",
		"--tls-cert-file="+s.certFile, "--tls-private-key-file="+s.keyFile, "--token-auth-file="+s.tokenFile,
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+s.accountKeyFile, "--service-account-signing-key-file="+s.accountKeyFile,
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged",
	)
	if err != nil {
		return err
	}
	c.server = server
	return server.ready(ctx, c.readyz)
}

// readyz asks the API server whether it is ready.
func (c *ControlPlane) readyz(ctx context.Context) error {
	return c.client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
}

// StopServer kills the API server: connections break, and new ones are refused until StartServer.
func (c *ControlPlane) StopServer() error { return c.server.kill() }

// PauseServer stops the API server (SIGSTOP): it accepts connections and responds to nothing until ResumeServer.
func (c *ControlPlane) PauseServer() error { return c.server.pause() }

// ResumeServer ends a pause.
func (c *ControlPlane) ResumeServer() error { return c.server.signal(syscall.SIGCONT) }
