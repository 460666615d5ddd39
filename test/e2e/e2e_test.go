//go:build e2e

package e2e

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestCluster(t *testing.T) {
	c := newCluster(t)
	c.startNode(t)
	c.kubectl(t, "create", "namespace", "demo")
	c.Apply(t, "test/e2e/manifests")
	c.sh(t, "cp bin/bond /opt/cni/bin/")
	cards := c.guest.Topology().Cards
	c.apply(t, vfNetwork("vf1", cards[0].VFs[0].PCI), vfNetwork("vf2", cards[1].VFs[0].PCI), bondNetwork("bond-net1"))
	c.apply(t, bondPod("bondpod1", "demo/vf1", "demo/vf2", "demo/bond-net1@bond0"))
	pod := c.awaitPod(t, "demo", "bondpod1", func(p *corev1.Pod) string {
		if p.Annotations["k8s.v1.cni.cncf.io/network-status"] == "" {
			return "no network-status"
		}
		return ""
	})
	t.Log(pod.Annotations)
	t.Log(c.sh(t, "cat /run/bondkeeper/*.json"))
}
