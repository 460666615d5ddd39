//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/bondkeeper/bondkeeper/pkg/status/v1"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// vf is a VF of a pod: its card and its number there.
type vf struct {
	card   topology.Card
	number int
}

func (v vf) pci() string { return v.card.VFs[v.number].PCI }

// vfs are the VFs with a number, one on each card.
func (c *cluster) vfs(number int) []vf {
	cards := c.guest.Topology().Cards
	return []vf{{cards[0], number}, {cards[1], number}}
}

// networks makes one network per VF and returns their names.
func (c *cluster) networks(t *testing.T, vfs []vf, names ...string) []string {
	t.Helper()
	var all []string
	for i, name := range names {
		c.apply(t, vfNetwork(name, vfs[i].pci()))
		all = append(all, "demo/"+name)
	}
	return all
}

// inHost is what the host has of a VF: its name, its MAC, and its settings on the PF except its MAC. It is empty while
// the VF is not in the host.
func (c *cluster) inHost(t *testing.T, v vf) string {
	t.Helper()
	return c.sh(t, `name=$(ls /sys/bus/pci/devices/%s/net 2>/dev/null) || exit 0
		[ -n "$name" ] || exit 0
		echo $name $(cat /sys/class/net/$name/address) $(ip link show %s | grep 'vf %d ' | sed 's/link.ether.*brd ff:ff:ff:ff:ff:ff//')`,
		v.pci(), v.card.PF.Name, v.number)
}

// hostState is inHost for several VFs.
func (c *cluster) hostState(t *testing.T, vfs []vf) []string {
	t.Helper()
	var all []string
	for _, v := range vfs {
		all = append(all, c.inHost(t, v))
	}
	return all
}

// deleteClean deletes a pod and waits until the record is gone and its VFs are in the host as before the pod.
func (c *cluster) deleteClean(t *testing.T, pod string, vfs []vf, before []string) {
	t.Helper()
	c.kubectl(t, "delete", "--namespace=demo", "pod/"+pod, "--timeout="+timeout.String())
	c.awaitClean(t, pod, vfs, before)
}

func (c *cluster) awaitClean(t *testing.T, pod string, vfs []vf, before []string) {
	t.Helper()
	c.await(t, "the end of "+pod+"'s record", func() bool { return !strings.Contains(c.sh(t, "bin/agent status"), "demo/"+pod+" ") })
	for i, v := range vfs {
		c.await(t, "VF "+v.pci()+" in the host", func() bool { return c.inHost(t, v) != "" })
		if after := c.inHost(t, v); after != before[i] {
			t.Errorf("VF %s is in the host as %q, was %q before pod %s", v.pci(), after, before[i], pod)
		}
	}
	left := c.sh(t, "ls /var/lib/cni/sriov/pci")
	for _, v := range vfs {
		if strings.Contains(left, v.pci()) {
			t.Errorf("sriov-cni still has a claim on VF %s:\n%s", v.pci(), left)
		}
	}
}

// stays checks for a while that something does not change.
func (c *cluster) stays(t *testing.T, what string, read func() string) {
	t.Helper()
	was := read()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(15 * time.Second); ; {
		select {
		case <-tick.C:
		case <-end:
			return
		}
		if is := read(); is != was {
			t.Fatalf("%s: now %q, was %q%s", what, is, was, c.nodeProblem())
		}
	}
}

// okdPage is the OKD page's network, unchanged, and its pod: each VF is lost once and restored.
func okdPage(t *testing.T, c *cluster) {
	vfs := c.vfs(2)
	before := c.hostState(t, vfs)
	c.apply(t, bondPod("okdpod", append(c.networks(t, vfs, "sriovnet1", "sriovnet2"), "demo/bond-net1")...))
	c.awaitBond(t, "okdpod", v1.Ready, corev1.ConditionTrue, 0)
	for n, v := range vfs {
		c.unbind(t, v.pci())
		c.awaitBond(t, "okdpod", v1.Degraded, corev1.ConditionTrue, n)
		c.bind(t, v.pci())
		c.awaitBond(t, "okdpod", v1.Ready, corev1.ConditionTrue, n+1)
		t.Logf("%d of %d losses repaired", n+1, len(vfs))
	}
	for _, v := range vfs {
		want := fmt.Sprintf("vlan %d", vlan)
		if pf := c.sh(t, "ip link show %s | grep 'vf %d '", v.card.PF.Name, v.number); !strings.Contains(pf, want) {
			t.Errorf("after the repair the PF has %q, want %s", pf, want)
		}
	}
	c.deleteClean(t, "okdpod", vfs, before)
}

// defaultRouteElsewhere is a pod that selects another network for its default route. Multus' changes of its default
// routes survive the loss of a VF and of the bond.
func defaultRouteElsewhere(t *testing.T, c *cluster) {
	vfs := c.vfs(3)
	before := c.hostState(t, vfs)
	c.networks(t, vfs, "vf7", "vf8")
	c.apply(t, definition("other", `{"cniVersion": "1.0.0", "name": "other", "type": "ptp", "ipam": {"type": "host-local", "subnet": "10.77.0.0/24"}}`),
		bondPod("routed", `[{"name": "vf7"}, {"name": "vf8"}, {"name": "bond-net1", "interface": "bond0"}, {"name": "other", "default-route": ["10.77.0.1"]}]`))
	pod := c.awaitBond(t, "routed", v1.Ready, corev1.ConditionTrue, 0)
	netns := c.netns(t, pod)
	routes := func() string { return c.sh(t, "nsenter --net=%s ip route show default", netns) }
	made := routes()
	t.Logf("default routes with the %s Multus:\n%s", c.peers.Multus, made)
	if !strings.Contains(made, "10.77.0.1 dev net4") && !c.peers.Real() {
		t.Errorf("the stand-in did not set the default route that the pod chose")
	}
	repairs := c.repairs(t, "routed")
	c.unbind(t, vfs[0].pci())
	c.awaitBond(t, "routed", v1.Degraded, corev1.ConditionTrue, repairs)
	c.bind(t, vfs[0].pci())
	c.awaitBond(t, "routed", v1.Ready, corev1.ConditionTrue, repairs+1)
	if now := routes(); now != made {
		t.Errorf("default routes after the repair of a VF:\n%s", now)
	}
	c.sh(t, "nsenter --net=%s ip link del bond0", netns)
	c.awaitBond(t, "routed", v1.Ready, corev1.ConditionTrue, repairs+2)
	c.stays(t, "default routes", routes)
	if now := routes(); now != made {
		t.Errorf("default routes after the bond was re-created:\n%s", now)
	}
	c.deleteClean(t, "routed", vfs, before)
}

// releasedVF is a pod of which sriov-cni releases a VF while the record exists. Its deletion fails in IPAM for a while:
// Multus continues with the VFs, and they stay in the host as sriov-cni left them.
func releasedVF(t *testing.T, c *cluster) {
	vfs := c.vfs(2)
	before := c.hostState(t, vfs)
	c.apply(t, bondNetwork("bond-net2", "10.56.218.0/24"), bondPod("released", "demo/sriovnet1", "demo/sriovnet2", "demo/bond-net2"))
	pod := c.awaitBond(t, "released", v1.Ready, corev1.ConditionTrue, 0)
	c.sh(t, `id=$(basename $(grep -l %s /run/bondkeeper/*.json) | cut -d@ -f1)
		echo '{"cniVersion": "0.3.1", "name": "sriovnet1", "type": "sriov"}' |
		CNI_COMMAND=DEL CNI_CONTAINERID=$id CNI_NETNS=%s CNI_IFNAME=net1 CNI_PATH=/opt/cni/bin /opt/cni/bin/sriov`, pod.UID, c.netns(t, pod))
	c.stays(t, "the VF that sriov-cni returned", func() string { return c.inHost(t, vfs[0]) })
	if now := c.inHost(t, vfs[0]); now != before[0] {
		t.Errorf("the VF is in the host as %q, was %q", now, before[0])
	}
	c.awaitPod(t, "demo", "released", func(p *corev1.Pod) string {
		if is, err := read(p); err != nil || is.State == v1.Ready {
			return "the bond is reported as Ready: " + p.Annotations[v1.Annotation]
		}
		return ""
	})
	t.Log(c.show(t, "released"))

	const leases = "/var/lib/cni/networks/bond-net2"
	c.sh(t, "mv %[1]s %[1]s.aside; touch %[1]s", leases)
	c.kubectl(t, "delete", "--namespace=demo", "pod/released", "--wait=false")
	c.await(t, "the VFs in the host", func() bool { return c.inHost(t, vfs[1]) != "" })
	c.stays(t, "the VFs of the pod that is being deleted", func() string { return strings.Join(c.hostState(t, vfs), "\n") })
	if !strings.Contains(c.sh(t, "bin/agent status"), "demo/released ") {
		t.Error("the record is gone although its address could not be released; the test proves nothing")
	}
	c.sh(t, "rm %[1]s; mv %[1]s.aside %[1]s", leases)
	c.kubectl(t, "wait", "--namespace=demo", "--for=delete", "pod/released", "--timeout="+timeout.String())
	c.awaitClean(t, "released", vfs, before)
	if n := c.sh(t, "ls %s | grep -c '^10' || true", leases); n != "0" {
		t.Errorf("%s addresses are leased, want none", n)
	}
}
