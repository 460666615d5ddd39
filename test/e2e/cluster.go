//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/kube"
	"github.com/bondkeeper/bondkeeper/test/lab"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
	"github.com/bondkeeper/bondkeeper/test/peers"
)

const (
	nodeName = "lab-node"
	// nodeAddress is the kubelet's --node-ip in node.sh.
	nodeAddress = "10.0.2.15"
	// timeout bounds every wait for the cluster; on a quiet machine each takes seconds.
	timeout = 5 * time.Minute
)

// cluster is a control plane on this machine's loopback and one node in a guest of the lab.
type cluster struct {
	*kube.ControlPlane
	top, share string
	peers      peers.Set
	images     []string
	guest      *lab.Guest
	stopNode   func()
	// unused is how bondpod2's VFs were in the host before the pod existed.
	unused []string
	// nodeEnd receives the result of the node's command.
	nodeEnd chan error
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	top, err := filepath.Abs("../..")
	kit.Must(t, err)
	set, err := peers.Find(top)
	kit.Must(t, err)
	t.Logf("Multus: %s; programs of %s", set.Multus, set.Dir)
	c := &cluster{top: top, share: shareDir(t, top), peers: set, ControlPlane: kube.Start(t)}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	kit.Must(t, c.StartControllers(ctx))
	c.writeCredentials(t)
	c.writeImages(t)
	t.Cleanup(func() { c.stopGuest(t) })
	return c
}

// shareDir is where the node's logs stay for the analysis of a failed run.
func shareDir(t *testing.T, top string) string {
	t.Helper()
	dir := filepath.Join(top, ".cache", "e2e")
	kit.Must(t, os.RemoveAll(dir))
	kit.Must(t, os.MkdirAll(dir, 0o755))
	return dir
}

// inGuest is the path in the guest of a file in the shared directory.
func inGuest(file string) string { return filepath.Join(topology.ShareDir, filepath.Base(file)) }

// writeCredentials writes the node's credentials: a kubeconfig with a kubelet's rights, one for Multus, and the service
// account files of a pod for the thick Multus.
func (c *cluster) writeCredentials(t *testing.T) {
	t.Helper()
	for name, data := range map[string][]byte{"ca.crt": c.Config().CAData, "token": []byte(c.Config().BearerToken)} {
		kit.Must(t, os.WriteFile(filepath.Join(c.share, name), data, 0o600))
	}
	for name, config := range map[string]*rest.Config{
		"kubelet": c.As("system:node:"+nodeName, "system:nodes", "system:authenticated"),
		"admin":   c.Config(),
	} {
		config.Host = c.GuestURL()
		file, err := c.WriteKubeconfig("node-"+name, config)
		kit.Must(t, err)
		data, err := os.ReadFile(file)
		kit.Must(t, err)
		kit.Must(t, os.WriteFile(filepath.Join(c.share, name+".kubeconfig"), data, 0o600))
	}
}

// startNode boots the guest and returns when the API server reports its node as ready.
func (c *cluster) startNode(t *testing.T) {
	t.Helper()
	began := time.Now()
	guest, err := lab.Start(t.Context(), lab.Config{
		Cards: 2, VFs: 4, UserNet: true, MemoryMiB: lab.MaxMemoryMiB, WorkDir: c.share, CacheDir: filepath.Join(c.top, ".cache", "lab"), Logf: t.Logf,
	})
	kit.Must(t, err)
	c.guest = guest
	ctx, cancel := context.WithCancel(context.Background())
	c.stopNode, c.nodeEnd = cancel, make(chan error, 1)
	args := []string{nodeName, c.GuestURL(), c.peers.Dir, string(c.peers.Multus)}
	for _, image := range c.images {
		args = append(args, inGuest(image))
	}
	go func() {
		c.nodeEnd <- guest.Run(ctx, lab.Cmd{Path: filepath.Join(c.top, "test/e2e/node.sh"), Args: args, Dir: c.top, Stdout: os.Stderr, Stderr: os.Stderr})
	}()
	c.kubectl(t, "wait", "--for=create", "node/"+nodeName, "--timeout="+timeout.String())
	c.kubectl(t, "wait", "--for=condition=Ready", "node/"+nodeName, "--timeout="+timeout.String())
	t.Logf("the node is Ready %s after power-on", time.Since(began).Round(time.Second))
}

// stopGuest simulates a power cut.
func (c *cluster) stopGuest(t *testing.T) {
	t.Helper()
	if c.guest == nil {
		return
	}
	c.stopNode()
	if fault := c.guest.Fault(); fault != nil && t.Failed() {
		t.Log(fault) // test/lanes.sh then repeats the test
	}
	if err := c.guest.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	t.Logf("the node has ended: %v", <-c.nodeEnd)
	c.guest = nil
}

// kubectl runs kubectl as an administrator; the test ends if it fails.
func (c *cluster) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.Kubectl(t.Context(), args...)
	if err != nil {
		t.Fatalf("%v%s", err, c.nodeProblem())
	}
	return out
}

// nodeProblem is the result of the node's command, if it has ended.
func (c *cluster) nodeProblem() string {
	select {
	case err := <-c.nodeEnd:
		c.nodeEnd <- err
		return fmt.Sprintf("\nthe node has ended: %v; see %s", err, c.share)
	default:
		return "\nthe node's logs are in " + c.share
	}
}

// sh runs a script on the node and returns its output.
func (c *cluster) sh(t *testing.T, format string, args ...any) string {
	t.Helper()
	var out, errs bytes.Buffer
	script := fmt.Sprintf(format, args...)
	if err := c.guest.Run(t.Context(), lab.Cmd{Path: "bash", Args: []string{"-ec", script}, Dir: c.top, Stdout: &out, Stderr: &errs}); err != nil {
		t.Fatalf("on the node: %s: %v: %s%s", script, err, out.String(), errs.String())
	}
	return strings.TrimSpace(out.String())
}

// awaitPod waits until holds returns an empty string; otherwise it returns what is missing.
func (c *cluster) awaitPod(t *testing.T, namespace, name string, holds func(*corev1.Pod) string) *corev1.Pod {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	pods := c.Client().CoreV1().Pods(namespace)
	only := fields.OneTermEqualSelector("metadata.name", name).String()
	list := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = only
			return pods.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = only
			return pods.Watch(ctx, o)
		},
	}
	missing, last := "it is not there", (*corev1.Pod)(nil)
	_, err := watchtools.UntilWithSync(ctx, list, &corev1.Pod{}, nil, func(e watch.Event) (bool, error) {
		pod, ok := e.Object.(*corev1.Pod)
		if !ok || e.Type == watch.Deleted {
			missing = "it is not there"
			return false, nil
		}
		last, missing = pod, holds(pod)
		return missing == "", nil
	})
	if err != nil {
		events, _ := c.Kubectl(t.Context(), "events", "--namespace", namespace)
		if len(events) > 4000 {
			events = events[:4000]
		}
		t.Fatalf("pod %s/%s: %s (%v)%s\n%s", namespace, name, missing, err, c.nodeProblem(), events)
	}
	return last
}
