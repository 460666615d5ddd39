package kube

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// readyIn bounds the start of one program on a busy machine.
const readyIn = 2 * time.Minute

// ErrNotBuilt means that a program of the control plane is missing.
var ErrNotBuilt = errors.New("the programs of the control plane are not all built: run make kube")

// ControlPlane is a running control plane. Its methods may be called from several goroutines, except those that stop
// and start servers.
type ControlPlane struct {
	dir, bin             string
	secrets              *secrets
	etcdPort, serverPort port
	ports                []port
	etcd, server         *process
	controllers          []*process
	admin                *rest.Config
	client               kubernetes.Interface
	kubeconfig           string
}

// New starts etcd and the API server and returns when the API server is ready. The context bounds the start only: the
// programs run until Close, or until this process ends. The working directory must be in the checkout. If a program is
// missing, the error matches ErrNotBuilt.
func New(ctx context.Context) (*ControlPlane, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "bondkeeper-kube-")
	if err != nil {
		return nil, fmt.Errorf("kube: %w", err)
	}
	c := &ControlPlane{dir: dir, bin: bin}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// programs returns the directory of the programs, and checks that those that are always needed exist.
func programs() (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	bin := filepath.Join(root, ".cache", "kube", "bin")
	for _, p := range []string{"etcd", "kube-apiserver", "kubectl"} {
		if _, err := os.Stat(filepath.Join(bin, p)); err != nil {
			return "", fmt.Errorf("kube: %w (%w)", ErrNotBuilt, err)
		}
	}
	return bin, nil
}

// moduleRoot returns the root of the module that contains the working directory.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("kube: %w", err)
	}
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("kube: %s is in no Go module: call from within the checkout", dir)
		}
	}
}

func (c *ControlPlane) start(ctx context.Context) (err error) {
	if c.secrets, err = newSecrets(c.dir); err != nil {
		return err
	}
	if c.etcdPort, err = c.reserve(); err != nil {
		return err
	}
	if c.serverPort, err = c.reserve(); err != nil {
		return err
	}
	if err = c.startEtcd(); err != nil {
		return err
	}
	if c.admin, err = c.configOf(adminUser); err != nil {
		return err
	}
	if c.client, err = kubernetes.NewForConfig(c.admin); err != nil {
		return fmt.Errorf("kube: %w", err)
	}
	if c.kubeconfig, err = c.WriteKubeconfig("admin", c.admin); err != nil {
		return err
	}
	return c.StartServer(ctx)
}

// reserve reserves a port until Close.
func (c *ControlPlane) reserve() (port, error) {
	p, err := reserve()
	if err == nil {
		c.ports = append(c.ports, p)
	}
	return p, err
}

// run starts a program.
func (c *ControlPlane) run(program string, args ...string) (*process, error) {
	return startProcess(filepath.Join(c.bin, program), filepath.Join(c.dir, program+".log"), args...)
}

// startEtcd starts etcd. The API server waits for it.
func (c *ControlPlane) startEtcd() error {
	peers, err := c.reserve()
	if err != nil {
		return err
	}
	client, peer := c.etcdPort.url("http"), peers.url("http")
	c.etcd, err = c.run("etcd", "--name=test", "--data-dir="+filepath.Join(c.dir, "etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--socket-reuse-port", "--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=test="+peer)
	return err
}

// Close ends all programs and removes what they wrote.
func (c *ControlPlane) Close() error {
	var errs []error
	for _, p := range append(c.controllers, c.server, c.etcd) {
		if p != nil {
			errs = append(errs, p.kill())
		}
	}
	for _, p := range c.ports {
		p.release()
	}
	return errors.Join(append(errs, os.RemoveAll(c.dir))...)
}

// Dir is a directory that exists until Close; it contains each program's log, <program>.log.
func (c *ControlPlane) Dir() string { return c.dir }
