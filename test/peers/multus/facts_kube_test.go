//go:build kube

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/peers"
)

// The names of these tests begin with the number of the fact in docs/peers.md.

func TestM1M2OrderNamesAndFiles(t *testing.T) {
	b := newBench(t)
	result := b.must(t, "ADD")
	b.expect(t, "ADD eth0 saved", "ADD net1 saved", "ADD net2 saved")
	if !strings.Contains(result, `"eth0"`) || strings.Contains(result, `"net1"`) {
		t.Errorf("the result is not the cluster network's: %s", result)
	}
	for path, want := range map[string]string{
		"cni": "drwx------", "cni/" + container: "-rw-------",
		"cni/results/cluster-" + container + "-eth0": "-rw-------", "cni/results/a-" + container + "-net1": "-rw-------",
	} {
		if got := b.mode(t, path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	b.must(t, "DEL")
	b.expect(t, "DEL net2 saved", "DEL net1 saved", "DEL eth0 saved")
	if got := b.mode(t, "cni/"+container); got != "none" {
		t.Errorf("the delegates' file is %s after DEL", got)
	}
}

func TestM3Args(t *testing.T) {
	b := newBench(t)
	b.args = ";K8S_POD_UID=u1;COLOUR=green"
	b.must(t, "ADD")
	_, args := b.calls(t)
	for _, want := range []string{
		"IgnoreUnknown=true;K8S_POD_NAMESPACE=demo;K8S_POD_NAME=pod1;K8S_POD_INFRA_CONTAINER_ID=c0ffee;K8S_POD_UID=u1;", ";COLOUR=green",
	} {
		if !strings.Contains(args[1], want) {
			t.Errorf("CNI_ARGS %s, want %s in it", args[1], want)
		}
	}
	b.args = ";COLOUR=green=ish"
	if _, failed := b.run(t, "DEL"); !strings.Contains(failed, "COLOUR=green=ish") {
		t.Errorf("DEL with a value that contains '=': %q", failed)
	}
}

func TestM4NameInUse(t *testing.T) {
	b := newBench(t)
	command(t, "nsenter", "--net="+b.sandbox, "ip", "link", "add", "net1", "type", "veth", "peer", "name", "other")
	if _, failed := b.run(t, "ADD"); !strings.Contains(failed, "net1 already exists") {
		t.Errorf("ADD: %q", failed)
	}
	b.expect(t, "ADD eth0 saved", "DEL net1 saved", "DEL eth0 saved")
}

func TestM7AddFails(t *testing.T) {
	b := newBench(t)
	b.fail(t, "ADD", "net1")
	repair := b.fail(t, "DEL", "net1")
	if _, failed := b.run(t, "ADD"); !strings.Contains(failed, "ADD of net1 refused") || strings.Contains(failed, "DEL of") {
		t.Errorf("ADD: %q", failed)
	}
	b.expect(t, "ADD eth0 saved", "ADD net1 saved", "DEL net1 saved", "DEL eth0 saved")
	if got := b.mode(t, "cni/"+container); got != "-rw-------" {
		t.Errorf("the delegates' file is %s, want it kept", got)
	}
	repair()
	b.must(t, "DEL") // as the runtime does next: it reaches net2, too, which was never added
	b.expect(t, "DEL net2 saved", "DEL net1 saved", "DEL eth0 saved")
}

func TestM8DelGoesOn(t *testing.T) {
	b := newBench(t)
	b.must(t, "ADD")
	b.calls(t)
	b.fail(t, "DEL", "net2")
	b.fail(t, "DEL", "eth0")
	_, failed := b.run(t, "DEL")
	if !strings.Contains(failed, "DEL of net2 refused") || !strings.Contains(failed, " / ") || !strings.Contains(failed, "DEL of eth0 refused") {
		t.Errorf("DEL: %q", failed)
	}
	b.expect(t, "DEL net2 saved", "DEL net1 saved", "DEL eth0 saved")
	if got := b.mode(t, "cni/"+container); got != "none" {
		t.Errorf("the delegates' file is %s, want it gone", got)
	}
	b.must(t, "DEL") // without its file and without an API server
	b.expect(t)
}

func TestM11OtherVerbs(t *testing.T) {
	b := onPlane(t, "m11", `a@first`)
	b.must(t, "ADD")
	b.calls(t)
	b.must(t, "CHECK")
	b.expect(t, "CHECK eth0 saved")
}

// onPlane is a bench with the API server, and a pod there with the networks a and b.
func onPlane(t *testing.T, pod, networks string) *bench {
	t.Helper()
	b := newBench(t)
	b.kubeconfig, b.pod = plane.Kubeconfig(), pod
	plane.Apply(t, "test/e2e/manifests")
	plane.Node(t, "a")
	if _, err := plane.Kubectl(t.Context(), "wait", "--for=condition=Established", "crd/network-attachment-definitions.k8s.cni.cncf.io", "--timeout=60s"); err != nil {
		t.Fatal(err)
	}
	p := plane.Pod(t, "demo", pod, "a")
	b.args = ";K8S_POD_UID=" + string(p.UID)
	var definitions strings.Builder
	for _, name := range []string{"a", "b"} {
		fmt.Fprintf(&definitions, `---
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {namespace: demo, name: %s}
spec: {config: '{"cniVersion": "1.0.0", "name": "net-%s", "type": "recorder"}'}
`, name, name)
	}
	file := filepath.Join(b.dir, "definitions.yaml")
	kit.Must(t, os.WriteFile(file, []byte(definitions.String()), 0o600))
	for _, args := range [][]string{
		{"apply", "--server-side", "--force-conflicts", "--filename", file},
		{"annotate", "--namespace=demo", "pod/" + pod, networksAnnotation + "=" + networks},
	} {
		if _, err := plane.Kubectl(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// TestM5DefaultRoute: real releases differ in whether they delete the routes that were not chosen, so a real program
// may do either. The stand-in does both, one after the other.
func TestM5DefaultRoute(t *testing.T) {
	const chosen = `[{"name":"a"},{"name":"b","interface":"out","default-route":["10.3.0.9"]}]`
	deleted, remaining := []string{"default via 10.3.0.9 dev out"}, []string{"default via 10.1.0.1 dev eth0"}
	for mode, want := range map[string][]string{"m5-deletes": deleted, "m5-keeps": remaining} {
		t.Run(mode, func(t *testing.T) {
			b := onPlane(t, mode, chosen)
			if mode == "m5-keeps" {
				b.extra = `, "keepDefaultRoutes": true`
			}
			b.must(t, "ADD")
			got := b.routes(t)
			same := func(want []string) bool { return strings.Join(got, "\n") == strings.Join(want, "\n") }
			if real := os.Getenv(peers.DirEnv) != ""; real && (same(deleted) || same(remaining)) {
				t.Logf("the real program leaves %v", got)
			} else if real || !same(want) {
				t.Errorf("default routes %v, want %v", got, want)
			}
			for path, want := range map[string]string{"cluster-" + container + "-eth0": "", "net-a-" + container + "-net1": "", "net-b-" + container + "-out": "10.3.0.9"} {
				if gw := cachedGateway(t, filepath.Join(b.dir, "cni/results", path)); gw != want {
					t.Errorf("%s: default route by %q, want %q", path, gw, want)
				}
			}
		})
	}
}

// cachedGateway is the gateway of a cached result's default routes.
func cachedGateway(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	kit.Must(t, err)
	var cached struct {
		Result struct {
			Routes []struct{ Dst, GW string }
		}
	}
	kit.Must(t, json.Unmarshal(data, &cached))
	var all []string
	for _, r := range cached.Result.Routes {
		all = append(all, r.GW)
	}
	return strings.Join(all, " ")
}

func TestM6NetworkStatus(t *testing.T) {
	b := onPlane(t, "m6", "demo/a, b@second")
	status := func() string {
		p, err := plane.Client().CoreV1().Pods("demo").Get(t.Context(), "m6", metav1.GetOptions{})
		kit.Must(t, err)
		return p.Annotations[statusAnnotation]
	}
	repair := b.fail(t, "ADD", "second")
	if _, failed := b.run(t, "ADD"); failed == "" || status() != "" {
		t.Errorf("after a failed ADD (%s): network-status %q, want none", failed, status())
	}
	repair()
	b.calls(t)
	b.must(t, "ADD")
	b.expect(t, "ADD eth0 saved", "ADD net1 saved", "ADD second saved")
	var got []networkStatus
	if err := json.Unmarshal([]byte(status()), &got); err != nil || len(got) != 3 {
		t.Fatalf("network-status %q: %v", status(), err)
	}
	if e := got[0]; e.Name != "cluster" || e.Interface != "eth0" || !e.Default {
		t.Errorf("entry of the cluster network: %+v", e)
	}
	if e := got[2]; e.Name != "demo/b" || e.Interface != "second" || e.Default || e.MAC != "02:00:00:00:00:03" || strings.Join(e.IPs, " ") != "10.3.0.2" {
		t.Errorf("entry of network b: %+v", e)
	}
}

func TestM9PodUnknownAtAdd(t *testing.T) {
	b := onPlane(t, "m9", "a")
	b.pod, b.args = "nobody", ""
	if result := b.must(t, "ADD"); !strings.Contains(result, "0.0.0.0") {
		t.Errorf("result %s", result)
	}
	b.expect(t)
}

func TestM10DelWithoutFile(t *testing.T) {
	b := onPlane(t, "m10", "a")
	b.must(t, "ADD")
	b.calls(t)
	kit.Must(t, os.Remove(filepath.Join(b.dir, "cni", container)))
	if _, err := plane.Kubectl(t.Context(), "annotate", "--overwrite", "--namespace=demo", "pod/m10", networksAnnotation+"=b"); err != nil {
		t.Fatal(err)
	}
	b.must(t, "DEL") // of what the annotation lists by now
	b.expect(t, "DEL net1 unsaved", "DEL eth0 unsaved")
	kit.Must(t, plane.Client().CoreV1().Pods("demo").Delete(t.Context(), "m10", metav1.DeleteOptions{}))
	b.must(t, "DEL")
	b.expect(t)
}

func TestM12OtherPodOfThatName(t *testing.T) {
	b := onPlane(t, "m12", "a")
	uid := b.args
	b.must(t, "ADD")
	b.calls(t)
	b.args = ";K8S_POD_UID=another"
	b.must(t, "DEL")
	b.expect(t, "DEL net1 saved", "DEL eth0 saved")
	b.must(t, "DEL") // without a file: the pod of that name is another one
	b.expect(t)
	if _, failed := b.run(t, "ADD"); failed == "" {
		t.Error("ADD succeeded with another UID")
	}
	b.expect(t)
	b.args = uid
	b.must(t, "ADD")
}
