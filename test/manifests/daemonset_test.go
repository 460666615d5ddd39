package manifests

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
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

// Everything that is mounted has a place, on the node or for the agent's socket, and nothing is kept from being mounted.
func TestMountsAndVolumesAgree(t *testing.T) {
	spec := daemonSet(t).Spec.Template.Spec
	used := map[string]bool{}
	for _, c := range append(spec.InitContainers, spec.Containers...) {
		for _, m := range c.VolumeMounts {
			used[m.Name] = true
		}
	}
	for _, v := range spec.Volumes {
		if !used[v.Name] || (v.HostPath == nil) != (v.Name == "agent") {
			t.Errorf("volume %s: used: %t, host path: %+v", v.Name, used[v.Name], v.HostPath)
		}
		delete(used, v.Name)
	}
	for name := range used {
		t.Errorf("there is no volume %s", name)
	}
}

// TestNoPortIsDeclared: a declared port of a pod in the host's network is a port of the node for the scheduler. While
// another pod declares it, the whole agent would be Pending. So the constraint for OKD need not allow any.
func TestNoPortIsDeclared(t *testing.T) {
	files, err := filepath.Glob("../../manifests/*/*/daemonset.yaml")
	kit.Must(t, err)
	for _, file := range append(files, "../../manifests/base/daemonset.yaml") {
		text, err := os.ReadFile(file)
		kit.Must(t, err)
		set := new(appsv1.DaemonSet)
		kit.Must(t, yaml.Unmarshal(text, set))
		spec := set.Spec.Template.Spec
		for _, c := range append(spec.InitContainers, spec.Containers...) {
			if len(c.Ports) > 0 {
				t.Errorf("%s: container %s declares %v", file, c.Name, c.Ports)
			}
		}
	}
	var constraint struct{ AllowHostPorts bool }
	decode(t, "overlays/okd/scc.yaml", &constraint)
	if constraint.AllowHostPorts {
		t.Error("the constraint allows host ports, and no pod has one")
	}
}

// TestScrapedAddress: the PodMonitor needs no declared port. It selects the proxy by its container, and makes its address
// from the pod's.
func TestScrapedAddress(t *testing.T) {
	text, err := os.ReadFile("../../manifests/components/monitoring/podmonitor.yaml")
	kit.Must(t, err)
	var monitor struct {
		Spec struct {
			PodMetricsEndpoints []struct {
				Port        string
				Relabelings []struct {
					SourceLabels                            []string
					Action, Regex, TargetLabel, Replacement string
				}
			}
		}
	}
	kit.Must(t, yaml.Unmarshal(text, &monitor))
	for _, c := range []struct{ container, ip, want string }{
		{"metrics-proxy", "10.0.0.7", "10.0.0.7:9720"}, {"metrics-proxy", "fd00::7", "[fd00::7]:9720"},
		{"agent", "10.0.0.7", ""}, {"install-cni", "10.0.0.7", ""},
	} {
		labels := map[string]string{"__address__": c.ip, "__meta_kubernetes_pod_ip": c.ip, "__meta_kubernetes_pod_container_name": c.container}
		for _, r := range monitor.Spec.PodMetricsEndpoints[0].Relabelings {
			regex, value := regexp.MustCompile("^(?s:"+r.Regex+")$"), labels[r.SourceLabels[0]]
			switch matches := r.Regex == "" || regex.MatchString(value); {
			case r.Action == "keep" && !matches:
				labels["__address__"] = ""
			case r.Action == "" && r.Regex != "" && matches && labels[r.TargetLabel] != "":
				labels[r.TargetLabel] = regex.ReplaceAllString(value, r.Replacement)
			}
		}
		if got := labels["__address__"]; got != c.want || monitor.Spec.PodMetricsEndpoints[0].Port != "" {
			t.Errorf("container %s at %s is scraped at %q, want %q", c.container, c.ip, got, c.want)
		}
	}
}

// TestProbesUseNoPort: the agent is in the host's network. If another program has its port, a probe of the port fails or
// succeeds for that program, and the kubelet kills an agent that is fine.
func TestProbesUseNoPort(t *testing.T) {
	agent := daemonSet(t).Spec.Template.Spec.Containers[0]
	for name, p := range map[string]*corev1.Probe{"liveness": agent.LivenessProbe, "readiness": agent.ReadinessProbe} {
		if p == nil || p.Exec == nil {
			t.Errorf("the %s probe is %+v", name, p)
		}
	}
	i := slices.IndexFunc(agent.Env, func(e corev1.EnvVar) bool { return e.Name == "BONDKEEPER_AGENT" })
	if i < 0 {
		t.Fatal("the agent has no address for its probes")
	}
	dir, private := filepath.Dir(strings.TrimPrefix(agent.Env[i].Value, "unix:")), ""
	for _, m := range agent.VolumeMounts {
		if m.MountPath == dir {
			private = m.Name
		}
	}
	for _, v := range daemonSet(t).Spec.Template.Spec.Volumes {
		if v.Name == private && v.EmptyDir != nil {
			return
		}
	}
	t.Errorf("%s is not the pod's own: a probe could reach another agent", dir)
}

// TestOKDConstraintAllowsTheVolumes: the constraint allows the types of volume that the overlay and the components use,
// the token of the service account included, and no others. OpenShift admits no pod with another one.
func TestOKDConstraintAllowsTheVolumes(t *testing.T) {
	used := map[string]bool{"projected": true}
	for _, file := range []string{"base", "overlays/okd", "components/monitoring", "components/whereabouts"} {
		var set appsv1.DaemonSet
		decode(t, file+"/daemonset.yaml", &set)
		for _, v := range set.Spec.Template.Spec.Volumes {
			source, err := json.Marshal(v.VolumeSource)
			kit.Must(t, err)
			var kinds map[string]any
			kit.Must(t, json.Unmarshal(source, &kinds))
			for kind := range kinds {
				used[kind] = true
			}
		}
	}
	var constraint struct{ Volumes []string }
	decode(t, "overlays/okd/scc.yaml", &constraint)
	if want := slices.Sorted(maps.Keys(used)); !slices.Equal(slices.Sorted(slices.Values(constraint.Volumes)), want) {
		t.Errorf("the constraint allows volumes of the types %q, the pods have %q", constraint.Volumes, want)
	}
}

// decode reads a manifest. A patch may have fields that its type does not have.
func decode(t *testing.T, file string, to any) {
	t.Helper()
	text, err := os.ReadFile("../../manifests/" + file)
	kit.Must(t, err)
	kit.Must(t, yaml.Unmarshal(text, to))
}
