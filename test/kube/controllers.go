package kube

import "context"

// StartControllers starts the controller-manager and the scheduler. It returns once the service account "default" of
// the namespace "default" exists, which every pod needs. From then on a node without heartbeat is tainted, and its pods
// are deleted after some minutes, as in a real cluster.
func (c *ControlPlane) StartControllers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyIn)
	defer cancel()
	// With its default rate limit the controller-manager takes minutes for its first round.
	manager, err := c.startController("kube-controller-manager", controllerUser,
		"--kube-api-qps=500", "--kube-api-burst=1000", "--use-service-account-credentials",
		"--service-account-private-key-file="+c.secrets.accountKeyFile, "--root-ca-file="+c.secrets.certFile)
	if err != nil {
		return err
	}
	if _, err := c.startController("kube-scheduler", schedulerUser); err != nil {
		return err
	}
	return manager.ready(ctx, func(ctx context.Context) error { return c.hasAccount(ctx, "default", "default") })
}

// startController starts a client of the API server.
func (c *ControlPlane) startController(program, user string, args ...string) (*process, error) {
	cfg, err := c.configOf(user)
	if err != nil {
		return nil, err
	}
	kubeconfig, err := c.WriteKubeconfig(program, cfg)
	if err != nil {
		return nil, err
	}
	listen, err := c.reserve()
	if err != nil {
		return nil, err
	}
	p, err := c.run(program, append(args, "--kubeconfig="+kubeconfig, "--authentication-kubeconfig="+kubeconfig,
		"--authorization-kubeconfig="+kubeconfig, "--bind-address="+loopback.String(), "--secure-port="+listen.String(),
		"--permit-port-sharing", "--leader-elect=false")...)
	if err == nil {
		c.controllers = append(c.controllers, p)
	}
	return p, err
}
