//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/bondkeeper/bondkeeper/pkg/status/v1"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestCluster is the life of a node: each step continues from the state in which the previous one left the cluster.
func TestCluster(t *testing.T) {
	c := newCluster(t)
	c.startNode(t)
	for _, step := range []struct {
		name string
		run  func(*testing.T, *cluster)
	}{
		{"install", install},
		{"the metrics", metrics},
		{"pods get their bonds", podsGetBonds},
		{"a VF is lost and comes back", vfLost},
		{"both VFs are lost and come back", bothLost},
		{"addresses of whereabouts", whereaboutsPods},
		{"the OKD page's pod", okdPage},
		{"a VF that its plugin released", releasedVF},
		{"an address whose DEL never came", abandonedAddress},
		{"a default route elsewhere", defaultRouteElsewhere},
		{"the agent is upgraded", upgrade},
		{"the API server is away", outage},
		{"a pod is deleted", deletePod},
		{"the node is restarted", restart},
	} {
		if !t.Run(step.name, func(t *testing.T) { step.run(t, c) }) {
			t.Fatalf("after %q the cluster is not what the next step needs", step.name)
		}
	}
}

// install does what an administrator does, with the image of this checkout.
func install(t *testing.T, c *cluster) {
	c.ApplyPrometheusOperator(t)
	c.Apply(t, "test/e2e/manifests")
	c.applyOverlay(t)
	c.awaitAgent(t)
	version := c.sh(t, "CNI_COMMAND=VERSION /opt/cni/bin/bond <<<'{\"cniVersion\": \"1.1.0\"}'")
	if !strings.Contains(version, "1.1.0") {
		t.Errorf("the installed plugin reports %q", version)
	}
	t.Logf("agent doctor, in the agent's container:\n%s", c.inAgent(t, "doctor"))
}

// metrics reads the agent's metrics on the node's address, with the token that the PodMonitor names, and without it.
func metrics(t *testing.T, c *cluster) {
	get := func(token string) string {
		return c.sh(t, "busybox wget -q -O - --no-check-certificate --header 'Authorization: Bearer %s' https://%s:9720/metrics 2>&1 || true", token, nodeAddress)
	}
	c.await(t, "the metrics with the token in the secret", func() bool {
		secret, err := c.Client().CoreV1().Secrets("bondkeeper").Get(t.Context(), "bondkeeper-metrics-reader", metav1.GetOptions{})
		kit.Must(t, err)
		return strings.Contains(get(string(secret.Data["token"])), `bondkeeper_bonds{state="Ready"} 0`)
	})
	if out := get("none"); !strings.Contains(out, "401") {
		t.Errorf("without a valid token: %s", out)
	}
}

// podsGetBonds makes two pods with two VFs each; they are ready because their bonds carry traffic.
func podsGetBonds(t *testing.T, c *cluster) {
	c.kubectl(t, "create", "namespace", "demo")
	c.unused = c.hostState(t, c.vfs(1))
	c.Apply(t, "manifests/examples/bond-net1.yaml")
	c.apply(t, bondPod("bondpod1", append(c.networks(t, c.vfs(0), "vf1", "vf2"), "demo/bond-net1@bond0")...),
		bondPod("bondpod2", append(c.networks(t, c.vfs(1), "vf3", "vf4"), "demo/bond-net1@bond0")...))
	for _, pod := range []string{"bondpod1", "bondpod2"} {
		c.awaitBond(t, pod, v1.Ready, corev1.ConditionTrue, 0)
		c.awaitReady(t, pod, corev1.ConditionTrue)
	}
	c.ping(t)
	t.Log(c.show(t, "bondpod1"))
}

func vfLost(t *testing.T, c *cluster) {
	vf := c.guest.Topology().Cards[0].VFs[0].PCI
	repairs := c.repairs(t, "bondpod1")
	c.unbind(t, vf)
	c.awaitBond(t, "bondpod1", v1.Degraded, corev1.ConditionTrue, repairs)
	c.awaitEvent(t, "bondpod1", "BondDegraded")
	t.Log(c.show(t, "bondpod1"))
	c.ping(t)
	c.bind(t, vf)
	c.awaitBond(t, "bondpod1", v1.Ready, corev1.ConditionTrue, repairs+1)
	c.awaitEvent(t, "bondpod1", "BondRepaired")
	c.ping(t)
	t.Log(c.show(t, "bondpod1"))
}

// bothLost loses both VFs: the readiness gate takes the pod out of service until one is back.
func bothLost(t *testing.T, c *cluster) {
	cards := c.guest.Topology().Cards
	repairs := c.repairs(t, "bondpod1")
	c.unbind(t, cards[0].VFs[0].PCI, cards[1].VFs[0].PCI)
	c.awaitBond(t, "bondpod1", v1.Down, corev1.ConditionFalse, repairs)
	c.awaitReady(t, "bondpod1", corev1.ConditionFalse)
	c.bind(t, cards[0].VFs[0].PCI, cards[1].VFs[0].PCI)
	c.awaitBond(t, "bondpod1", v1.Ready, corev1.ConditionTrue, repairs+2)
	c.awaitReady(t, "bondpod1", corev1.ConditionTrue)
	c.ping(t)
}

// upgrade rolls out another image. It loses no packet, changes nothing in a pod's netns and reports nothing to the API
// server.
func upgrade(t *testing.T, c *cluster) {
	before := c.pod(t, "bondpod1")
	stop := c.watchNetns(t, before)
	c.kubectl(t, "set", "image", "--namespace=bondkeeper", "daemonset/bondkeeper-agent", "agent="+agentImage(2), "install-cni="+agentImage(2))
	c.awaitAgent(t)
	if events := stop(); events != "" {
		t.Errorf("the upgrade changed the pod's netns:\n%s", events)
	}
	c.ping(t)
	if after := c.pod(t, "bondpod1"); after.ResourceVersion != before.ResourceVersion {
		t.Errorf("the upgrade wrote to a pod whose bond had not changed: %s, then %s", before.Annotations[v1.Annotation], after.Annotations[v1.Annotation])
	}
	vf, repairs := c.guest.Topology().Cards[1].VFs[0].PCI, c.repairs(t, "bondpod1")
	c.unbind(t, vf)
	c.bind(t, vf)
	c.awaitBond(t, "bondpod1", v1.Ready, corev1.ConditionTrue, repairs+1)
}

// outage loses a VF while the API server is stopped: the bond is repaired anyway, and the last state is reported once
// the API server is back.
func outage(t *testing.T, c *cluster) {
	repairs := c.repairs(t, "bondpod1")
	namespace, peer := c.netns(t, c.pod(t, "bondpod1")), c.address(t, c.pod(t, "bondpod2"))
	kit.Must(t, c.StopServer())
	vf := c.guest.Topology().Cards[0].VFs[0].PCI
	c.unbind(t, vf)
	c.bind(t, vf)
	c.await(t, "repair without an API server", func() bool {
		healed := fmt.Sprintf(`demo/bondpod1 +bond0 +Ready .* %d +net1 `, repairs+1)
		return regexp.MustCompile(healed).MatchString(c.sh(t, "bin/agent status"))
	})
	c.pingFrom(t, namespace, peer)
	kit.Must(t, c.StartServer(t.Context()))
	c.awaitBond(t, "bondpod1", v1.Ready, corev1.ConditionTrue, repairs+1)
}

// deletePod leaves nothing: the VFs are in the host as before the pod, and the record and the address are gone.
func deletePod(t *testing.T, c *cluster) {
	c.deleteClean(t, "bondpod2", c.vfs(1), c.unused)
	if leases := c.sh(t, "ls /var/lib/cni/networks/bond-net1 | grep -c '^10' || true"); leases != "1" {
		t.Errorf("%s addresses are leased, want only bondpod1's", leases)
	}
}

// restart is a power cut: records and netns are gone, and the kubelet recreates its pods' sandboxes.
func restart(t *testing.T, c *cluster) {
	before, err := read(c.pod(t, "bondpod1"))
	kit.Must(t, err)
	c.stopGuest(t)
	c.startNode(t)
	c.awaitAgent(t)
	c.awaitPod(t, "demo", "bondpod1", func(p *corev1.Pod) string {
		if is, err := read(p); err != nil || is.MAC == before.MAC || is.State != v1.Ready || is.Repairs != 0 {
			return "it has not got a new bond: " + p.Annotations[v1.Annotation]
		}
		return ""
	})
	c.awaitReady(t, "bondpod1", corev1.ConditionTrue)
	if n := c.sh(t, "ls /run/bondkeeper/*.json | wc -l"); n != "1" {
		t.Errorf("%s records, want one", n)
	}
}

// show prints what an SRE would read.
func (c *cluster) show(t *testing.T, pod string) string {
	t.Helper()
	return "kubectl get pod " + pod + " -o yaml, without its spec:\n" +
		c.kubectl(t, "get", "--namespace=demo", "pod/"+pod, "--output=go-template-file="+filepath.Join(c.top, "test/e2e/reported.tmpl")) +
		c.kubectl(t, "events", "--namespace=demo", "--for=pod/"+pod)
}
