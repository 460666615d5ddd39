package manifests

import (
	"os"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// daemonSet is that of manifests/base.
func daemonSet(t *testing.T) *appsv1.DaemonSet {
	t.Helper()
	text, err := os.ReadFile("../../manifests/base/daemonset.yaml")
	kit.Must(t, err)
	set := new(appsv1.DaemonSet)
	kit.Must(t, yaml.UnmarshalStrict(text, set))
	return set
}

// Everything that is mounted has a place on the node, and nothing is kept from being mounted.
func TestMountsAndVolumesAgree(t *testing.T) {
	spec := daemonSet(t).Spec.Template.Spec
	used := map[string]bool{}
	for _, c := range append(spec.InitContainers, spec.Containers...) {
		for _, m := range c.VolumeMounts {
			used[m.Name] = true
		}
	}
	for _, v := range spec.Volumes {
		if !used[v.Name] || v.HostPath == nil {
			t.Errorf("volume %s: used: %t, host path: %+v", v.Name, used[v.Name], v.HostPath)
		}
		delete(used, v.Name)
	}
	for name := range used {
		t.Errorf("there is no volume %s", name)
	}
}
