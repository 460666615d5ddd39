//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab"
)

// await polls, for what sends no event to this machine.
func (c *cluster) await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within %s%s", what, timeout, c.nodeProblem())
		}
	}
}

// awaitAgent waits until the DaemonSet's pod of the last image is ready.
func (c *cluster) awaitAgent(t *testing.T) {
	t.Helper()
	out, err := c.Kubectl(t.Context(), "rollout", "status", "--namespace=bondkeeper", "daemonset/bondkeeper-agent", "--timeout="+timeout.String())
	if err == nil {
		return
	}
	described, _ := c.Kubectl(t.Context(), "describe", "--namespace=bondkeeper", "pods")
	t.Fatalf("the agent is not ready: %s%v%s\n%s", out, err, c.nodeProblem(), described)
}

// agentContainer is the ID of the container that the agent runs in.
func (c *cluster) agentContainer(t *testing.T) string {
	t.Helper()
	id := c.kubectl(t, "get", "--namespace=bondkeeper", "pods", "--output=jsonpath={.items[0].status.containerStatuses[?(@.name==\"agent\")].containerID}")
	return strings.TrimPrefix(id, "containerd://")
}

// inAgent runs a subcommand of the agent in its container.
func (c *cluster) inAgent(t *testing.T, command string) string {
	t.Helper()
	return c.sh(t, ".cache/kube/bin/ctr -n k8s.io task exec --exec-id e2e-$$ %s /agent %s", c.agentContainer(t), command)
}

func (c *cluster) pod(t *testing.T, name string) *corev1.Pod {
	t.Helper()
	p, err := c.Client().CoreV1().Pods("demo").Get(t.Context(), name, metav1.GetOptions{})
	kit.Must(t, err)
	return p
}

// unbind unbinds VFs from their driver: their netdevs vanish from the pod.
func (c *cluster) unbind(t *testing.T, vfs ...string) {
	t.Helper()
	for _, vf := range vfs {
		c.sh(t, "echo %s >/sys/bus/pci/drivers/igbvf/unbind", vf)
	}
}

// bind binds VFs to their driver: their netdevs appear in the host.
func (c *cluster) bind(t *testing.T, vfs ...string) {
	t.Helper()
	for _, vf := range vfs {
		c.sh(t, "echo %s >/sys/bus/pci/drivers/igbvf/bind", vf)
	}
}

// netns is the path of a pod's netns, from its record.
func (c *cluster) netns(t *testing.T, pod *corev1.Pod) string {
	t.Helper()
	return c.sh(t, `grep -l %s /run/bondkeeper/*.json | head -n 1 | xargs sed -n 's/.*"sandbox":{"path":"\([^"]*\)".*/\1/p'`, pod.UID)
}

// address is a pod's address on its bond.
func (c *cluster) address(t *testing.T, pod *corev1.Pod) string {
	t.Helper()
	return c.sh(t, "nsenter --net=%s ip -4 -o address show dev bond0 | sed 's|.* inet \\([0-9.]*\\)/.*|\\1|'", c.netns(t, pod))
}

// ping pings the second pod's bond from the first's.
func (c *cluster) ping(t *testing.T) {
	t.Helper()
	c.pingFrom(t, c.netns(t, c.pod(t, "bondpod1")), c.address(t, c.pod(t, "bondpod2")))
}

// pingFrom does the same without the API server.
func (c *cluster) pingFrom(t *testing.T, netns, address string) {
	t.Helper()
	c.sh(t, "nsenter --net=%s ping -c 5 -i 0.2 -W 2 -I bond0 %s", netns, address)
}

// watchNetns collects the changes of a pod's links, addresses and routes until it is stopped. The kernel's own updates
// of neighbours and reachability are left out.
func (c *cluster) watchNetns(t *testing.T, pod *corev1.Pod) (stop func() string) {
	t.Helper()
	file := filepath.Join(c.share, "monitor.txt")
	kit.Must(t, os.WriteFile(file, nil, 0o644))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	script := fmt.Sprintf("exec nsenter --net=%s ip monitor link address route >%s", c.netns(t, pod), inGuest(file))
	go func() { ended <- c.guest.Run(ctx, lab.Cmd{Path: "bash", Args: []string{"-c", script}}) }()
	c.await(t, "ip monitor", func() bool {
		select {
		case err := <-ended:
			t.Fatalf("%s has ended: %v", script, err)
		default:
		}
		return c.sh(t, "pgrep -x ip || true") != ""
	})
	return func() string {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("ip monitor: %v", err)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
		}
		return string(data)
	}
}
