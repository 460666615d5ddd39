//go:build kube

package manifests

import (
	"os"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/kube"
)

var cp *kube.ControlPlane

func TestMain(m *testing.M) { os.Exit(kube.Main(m, &cp)) }

// kustomizations are applied one over the other: each is taken on a new cluster and in place of another.
var kustomizations = []string{"manifests/base", "manifests/overlays/containerd", "manifests/overlays/okd", "test/manifests/testdata/whereabouts", "test/manifests/testdata/monitoring", "manifests/examples"}

// top is the way to the top of the checkout.
const top = "../../"

// types are those of others that the manifests use, and plain Kubernetes does not know.
func types(t *testing.T) {
	t.Helper()
	cp.ApplyPrometheusOperator(t)
	cp.Apply(t, "test/manifests/testdata/scc.yaml", "test/e2e/manifests/networkattachmentdefinition.yaml")
	if _, err := cp.Kubectl(t.Context(), "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"); err != nil {
		t.Fatal(err)
	}
}

// The API server takes every object with every field, first in a dry run, then for good; taken again nothing changes.
func TestKustomizations(t *testing.T) {
	types(t)
	cp.Apply(t, "manifests/base/namespace.yaml", "manifests/examples/namespace.yaml")
	cp.Namespace(t, "demo") // with its service account, which no controller makes here
	for _, k := range kustomizations {
		t.Run(k, func(t *testing.T) {
			apply := []string{"apply", "--server-side", "--validate=strict", "--force-conflicts", "--kustomize", top + k}
			for _, args := range [][]string{append(apply, "--dry-run=server"), apply} {
				out, err := cp.Kubectl(t.Context(), args...)
				kit.Must(t, err)
				if strings.Contains(out, "Warning") {
					t.Errorf("the API server warns: %s", out)
				}
			}
			before := objects(t, k)
			if _, err := cp.Kubectl(t.Context(), apply...); err != nil {
				t.Fatal(err)
			}
			if after := objects(t, k); after != before || before == "" {
				t.Errorf("applied again: %s, before %s", after, before)
			}
			if k != "manifests/examples" {
				checkDaemonSet(t)
			}
		})
	}
}

// objects are the names and versions of what a kustomization has made.
func objects(t *testing.T, kustomization string) string {
	t.Helper()
	out, err := cp.Kubectl(t.Context(), "get", "--kustomize", top+kustomization, "--output=jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.resourceVersion}\n{end}")
	kit.Must(t, err)
	return out
}

// checkDaemonSet holds what no overlay may change, and that the API server lets the pods in.
func checkDaemonSet(t *testing.T) {
	t.Helper()
	set, err := cp.Client().AppsV1().DaemonSets(kube.AgentNamespace).Get(t.Context(), "bondkeeper-agent", metav1.GetOptions{})
	kit.Must(t, err)
	if u := set.Spec.UpdateStrategy; u.Type != appsv1.RollingUpdateDaemonSetStrategyType || u.RollingUpdate.MaxSurge.IntValue() != 0 {
		t.Errorf("a new agent would wait for the old one for ever: %+v", u)
	}
	spec := set.Spec.Template.Spec
	if !spec.HostNetwork || spec.HostPID || spec.HostIPC {
		t.Error("the agent needs the host's network, and neither its processes nor its IPC")
	}
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		s := c.SecurityContext
		if s == nil || s.Privileged != nil && *s.Privileged || !*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
			t.Errorf("container %s: %+v", c.Name, s)
		}
		if c.Name != "agent" && len(s.Capabilities.Add) > 0 {
			t.Errorf("container %s needs no capabilities and has %v", c.Name, s.Capabilities.Add)
		}
	}
	pod := &corev1.Pod{ObjectMeta: set.Spec.Template.ObjectMeta, Spec: spec}
	pod.GenerateName = "admitted-"
	if _, err := cp.Client().CoreV1().Pods(kube.AgentNamespace).Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err != nil {
		t.Errorf("the agent's pod is not let in: %v", err)
	}
}

// The constraint allows the capabilities that the agent has, and no others.
func TestOKDConstraintFitsTheDaemonSet(t *testing.T) {
	types(t)
	cp.Apply(t, "manifests/overlays/okd/scc.yaml")
	out, err := cp.Kubectl(t.Context(), "get", "scc", "bondkeeper-agent", "--output=jsonpath={.allowedCapabilities[*]}")
	kit.Must(t, err)
	have := strings.Fields(out)
	var want []string
	for _, c := range daemonSet(t).Spec.Template.Spec.Containers {
		for _, name := range c.SecurityContext.Capabilities.Add {
			want = append(want, string(name))
		}
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("the constraint allows %v, the agent has %v", have, want)
	}
}
