//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/bondkeeper/bondkeeper/pkg/status/v1"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// chainMTU is what tuning sets after the bond's ADD.
const chainMTU = 1450

// whereaboutsNetwork is a chain of a bond with addresses of whereabouts and tuning.
func whereaboutsNetwork(name string) string {
	return definition(name, fmt.Sprintf(`{
    "cniVersion": "1.0.0", "name": "%s", "plugins": [
      {"type": "bond", "mode": "active-backup", "failOverMac": 1, "linksInContainer": true, "miimon": "100",
       "links": [{"name": "net1"}, {"name": "net2"}], "ipam": {"type": "whereabouts", "range": "10.56.219.0/24"}},
      {"type": "tuning", "mtu": %d}
    ]
  }`, name, chainMTU))
}

// whereaboutsPods is the life of a pod with an address of whereabouts. Its bond is repaired and recreated with the
// address, which its DEL releases. A second pod is deleted without a DEL of its networks.
func whereaboutsPods(t *testing.T, c *cluster) {
	c.ApplyWhereabouts(t)
	vfs := c.vfs(3)
	before := c.hostState(t, vfs)
	networks := append(c.networks(t, vfs, "vf9", "vf10"), "demo/bond-net3@bond0")
	c.apply(t, whereaboutsNetwork("bond-net3"), bondPod("allocated", networks...))
	pod := c.awaitBond(t, "allocated", v1.Ready, corev1.ConditionTrue, 0)
	address := c.ownAddress(t, pod)

	c.unbind(t, vfs[0].pci())
	c.awaitBond(t, "allocated", v1.Degraded, corev1.ConditionTrue, 0)
	c.bind(t, vfs[0].pci())
	c.awaitBond(t, "allocated", v1.Ready, corev1.ConditionTrue, 1)
	repairs := c.repairs(t, "allocated")
	c.sh(t, "nsenter --net=%s ip link del bond0", c.netns(t, pod))
	c.await(t, "the address on the re-created bond", func() bool { return c.address(t, pod) == address })
	c.awaitBond(t, "allocated", v1.Ready, corev1.ConditionTrue, repairs+1)
	c.ownAddress(t, pod)
	c.checkWhereabouts(t, pod)
	c.deleteClean(t, "allocated", vfs, before)
	if left := c.allocated(t); left != "" {
		t.Errorf("after DEL these are still allocated: %s", left)
	}

	c.apply(t, bondPod("abandoned", networks...))
	pod = c.awaitBond(t, "abandoned", v1.Ready, corev1.ConditionTrue, 0)
	t.Logf("the second pod has %s", c.ownAddress(t, pod))
	// Without its file and without the pod Multus calls no plugin (M10).
	c.sh(t, "rm /var/lib/cni/multus/%s", c.container(t, pod))
	c.kubectl(t, "delete", "--namespace=demo", "pod/abandoned", "--timeout="+timeout.String())
}

// abandonedAddress: the agent releases the second pod's address, with its own rights and files. The kubelet removes a
// stopped sandbox within a minute, during which the previous steps run.
func abandonedAddress(t *testing.T, c *cluster) {
	c.await(t, "the release by the agent", func() bool { return c.allocated(t) == "" })
	c.await(t, "the end of the record", func() bool { return !strings.Contains(c.sh(t, "bin/agent status"), "demo/abandoned ") })
	// The agent logs it after the release, and containerd writes the file.
	c.await(t, "the agent's log line about the release", func() bool {
		released := c.sh(t, "grep -h 'ended without DEL' /var/log/pods/bondkeeper_*/agent/*.log || true")
		return strings.Contains(released, "demo/abandoned")
	})
}

// ownAddress returns the address of the pod's bond. It must be allocated to the pod, and the bond must have the chain's
// MTU.
func (c *cluster) ownAddress(t *testing.T, pod *corev1.Pod) string {
	t.Helper()
	address, all := c.address(t, pod), c.allocated(t)
	if !strings.Contains(all, "demo/"+pod.Name) || address == "" || !strings.Contains(all, address) {
		t.Errorf("the bond has the address %q; allocated: %s", address, all)
	}
	link := c.sh(t, "nsenter --net=%s ip -o link show dev bond0", c.netns(t, pod))
	if want := fmt.Sprintf(" mtu %d ", chainMTU); !strings.Contains(link, want) {
		t.Errorf("the bond is not as tuning left it: %s", link)
	}
	return address
}

// allocated returns what is allocated in the API server.
func (c *cluster) allocated(t *testing.T) string {
	t.Helper()
	all, err := c.Allocated(t.Context())
	kit.Must(t, err)
	return all
}

// container returns the container ID in the name of a pod's record.
func (c *cluster) container(t *testing.T, pod *corev1.Pod) string {
	t.Helper()
	return c.sh(t, "basename $(grep -l %s /run/bondkeeper/*.json) | cut -d@ -f1", pod.UID)
}

// checkWhereabouts calls the bond plugin's CHECK as a runtime would, with libcni's cached result. whereabouts
// implements no CHECK (W1). It is called after the bond was found to be as ADD left it, so its error is the only one.
func (c *cluster) checkWhereabouts(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	container := c.container(t, pod)
	var cached struct {
		Config []byte          `json:"config"`
		Result json.RawMessage `json:"result"`
	}
	decode(t, []byte(c.sh(t, "cat /var/lib/cni/multus/results/bond-net3-%s-bond0", container)), &cached)
	var list struct {
		Plugins []map[string]any `json:"plugins"`
	}
	decode(t, cached.Config, &list)
	config := list.Plugins[0]
	config["cniVersion"], config["name"], config["prevResult"] = "1.0.0", "bond-net3", cached.Result
	data, err := json.Marshal(config)
	kit.Must(t, err)
	file := filepath.Join(c.share, "check.json")
	kit.Must(t, os.WriteFile(file, data, 0o600))
	output := c.sh(t, `CNI_COMMAND=CHECK CNI_CONTAINERID=%s CNI_NETNS=%s CNI_IFNAME=bond0 CNI_PATH=/opt/cni/bin \
		/opt/cni/bin/bond <%s 2>&1 || true`, container, c.netns(t, pod), inGuest(file))
	if !strings.Contains(output, "IPAM whereabouts CHECK: CNI CHECK method is not implemented") {
		t.Errorf("CHECK: %s", output)
	}
}

func decode(t *testing.T, data []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
}
