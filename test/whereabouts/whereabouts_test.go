//go:build kube

package whereabouts

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/kube"
)

// plugins has the whereabouts plugin (make bin/cni/whereabouts).
var plugins string

var cp *kube.ControlPlane

func TestMain(m *testing.M) {
	plugins, _ = filepath.Abs("../../bin/cni")
	os.Exit(kube.Main(m, &cp))
}

// setUp makes the resources that whereabouts needs, and the agent's rights of the component.
func setUp(t *testing.T) {
	t.Helper()
	cp.ApplyWhereabouts(t)
	cp.Apply(t, "manifests/base/namespace.yaml", "manifests/components/whereabouts/rbac.yaml")
}

// allocated returns the allocations of the range and the reservations, as text.
func allocated(t *testing.T) string {
	t.Helper()
	all, err := cp.Allocated(t.Context())
	kit.Must(t, err)
	return all
}

// TestPlugin: ADD allocates, CHECK fails because whereabouts has none, and DEL releases, as often as it is called.
func TestPlugin(t *testing.T) {
	setUp(t)
	n := newNode(t)
	n.access(cp.Kubeconfig())
	result := n.add("c1")
	if !strings.Contains(result, `"address": "192.0.2.1/24"`) {
		t.Errorf("result: %s", result)
	}
	if a := allocated(t); !strings.Contains(a, "demo/c1") || !strings.Contains(a, "192.0.2.1") {
		t.Errorf("allocated: %s", a)
	}
	if err := n.plugin().Funcs().Check(n.args("c1", result)); err == nil || !strings.Contains(err.Error(), "IPAM whereabouts CHECK: CNI CHECK method is not implemented") {
		t.Errorf("CHECK: %v", err)
	}
	for range 2 {
		n.must(n.plugin().Funcs().Del(n.args("c1", "")))
		if a := allocated(t); a != "" {
			t.Errorf("still allocated: %s", a)
		}
	}
}

// TestAgentWithoutAccess: the agent cannot release without the files of Multus's directory. The record says so and
// stays, and the release succeeds when the agent has been given access with the rights of the component, and no more.
func TestAgentWithoutAccess(t *testing.T) {
	setUp(t)
	n := newNode(t)
	n.access(cp.Kubeconfig())
	n.add("c2")
	n.noAccess()
	key := bond.Key{ContainerID: "c2", IfName: "bond0"}
	for range 2 {
		if err := n.release(key); err == nil || !strings.Contains(err.Error(), "IPAM whereabouts DEL") {
			t.Fatalf("release without access: %v", err)
		}
	}
	out, err := n.engine().Inspect(t.Context(), key)
	n.must(err)
	if out.Status.State != bond.StateDeleting || !strings.Contains(out.Status.Reason, "the addresses remain allocated: attempt 2 failed") {
		t.Errorf("%s: %s", out.Status.State, out.Status.Reason)
	}
	if a := allocated(t); !strings.Contains(a, "demo/c2") {
		t.Errorf("allocated: %s", a)
	}

	n.inContainer(key)
	n.must(n.release(key))
	if _, err := n.store.Load(key); !errors.Is(err, bond.ErrNotFound) {
		t.Errorf("the record is still there: %v", err)
	}
	if a := allocated(t); a != "" {
		t.Errorf("still allocated: %s", a)
	}
}

// TestAgentWithoutRights: whereabouts v0.9.2 reports success for a DEL that the API server rejects. The address remains
// allocated until whereabouts' own reconciler frees it.
func TestAgentWithoutRights(t *testing.T) {
	setUp(t)
	n := newNode(t)
	n.access(cp.Kubeconfig())
	n.add("c3")
	// Without rights on the lease DEL takes the minute that whereabouts waits for it.
	for _, what := range [][]string{{"role", "leases", "--verb=*", "--resource=leases"}, {"rolebinding", "leases", "--role=leases", "--user=nobody"}} {
		if _, err := cp.Kubectl(t.Context(), append([]string{"create", "-n", "kube-system"}, what...)...); err != nil {
			t.Fatal(err)
		}
	}
	unprivileged, err := cp.WriteKubeconfig("nobody", cp.As("nobody"))
	n.must(err)
	n.access(unprivileged)
	n.must(n.release(bond.Key{ContainerID: "c3", IfName: "bond0"}))
	if a := allocated(t); !strings.Contains(a, "demo/c3") {
		t.Errorf("whereabouts has released, or no longer reports success: %s", a)
	}
	n.access(cp.Kubeconfig())
	n.must(n.plugin().Funcs().Del(n.args("c3", "")))
}

// wrapper runs whereabouts in a mount namespace with the files that the agent's container has: those of the component,
// and those of the service account.
const wrapper = `#!/bin/sh
exec unshare --mount sh -c '
mount -t tmpfs tmpfs /var/run && mkdir -p /var/run/secrets/kubernetes.io && ln -s %[1]s /var/run/secrets/kubernetes.io/serviceaccount
mkdir -p /etc/cni && mount -t tmpfs tmpfs /etc/cni && mkdir -p /etc/cni/net.d && ln -s %[1]s /etc/cni/net.d/whereabouts.d
KUBERNETES_SERVICE_HOST=%[2]s KUBERNETES_SERVICE_PORT=%[3]s exec %[4]s/whereabouts'
`

// inContainer makes the record's IPAM plugin run as in the agent's container.
func (n *node) inContainer(key bond.Key) {
	n.t.Helper()
	ctx, client := n.t.Context(), cp.Client()
	cp.Apply(n.t, "manifests/base/serviceaccount.yaml")
	token, err := client.CoreV1().ServiceAccounts(kube.AgentNamespace).CreateToken(ctx, kube.AgentAccount, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	n.must(err)
	text, err := os.ReadFile("../../manifests/components/whereabouts/config.yaml")
	n.must(err)
	var files corev1.ConfigMap
	n.must(yaml.UnmarshalStrict(text, &files))
	files.Data["token"], files.Data["ca.crt"] = token.Status.Token, string(cp.Config().CAData)
	dir := n.t.TempDir()
	for name, text := range files.Data {
		n.must(os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	server, err := url.Parse(cp.Config().Host)
	n.must(err)
	bin := n.t.TempDir()
	script := fmt.Sprintf(wrapper, dir, server.Hostname(), server.Port(), plugins)
	n.must(os.WriteFile(filepath.Join(bin, "whereabouts"), []byte(script), 0o700))
	n.must(n.engine().Update(ctx, key, func(r *bond.Record) error {
		r.CNI.Path = bin
		return nil
	}))
}
