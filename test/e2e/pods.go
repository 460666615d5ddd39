//go:build e2e

package e2e

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// definition is a NetworkAttachmentDefinition.
func definition(name, config string) string {
	return fmt.Sprintf(`---
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {namespace: demo, name: %s}
spec:
  config: '%s'
`, name, config)
}

// vfNetwork is the network of one VF, by its PCI address, as the SR-IOV network operator configures it: without
// addresses, and with a VLAN, which the VF loses with its PF's driver.
func vfNetwork(name, pci string) string {
	return definition(name, fmt.Sprintf(`{
    "cniVersion": "0.3.1", "name": "%s", "type": "sriov", "deviceID": "%s", "vlan": %d, "vlanQoS": 0, "spoofchk": "on", "trust": "off", "ipam": {}
  }`, name, pci, vlan))
}

// vlan is the VLAN of all VFs of pods.
const vlan = 100

// bondNetwork is a bond of net1 and net2 like the OKD page's, with its own subnet.
func bondNetwork(name, subnet string) string {
	return definition(name, fmt.Sprintf(`{
    "type": "bond", "cniVersion": "0.3.1", "name": "%s", "mode": "active-backup", "failOverMac": 1,
    "linksInContainer": true, "miimon": "100", "mtu": 1500,
    "links": [{"name": "net1"}, {"name": "net2"}],
    "ipam": {"type": "host-local", "subnet": "%s"}
  }`, name, subnet))
}

// bondPod is a pod with two VFs and a bond over them, which is ready only while its bond carries traffic.
func bondPod(name string, networks ...string) string {
	return fmt.Sprintf(`---
apiVersion: v1
kind: Pod
metadata:
  namespace: demo
  name: %s
  annotations: {k8s.v1.cni.cncf.io/networks: '%s'}
spec:
  nodeName: %s
  terminationGracePeriodSeconds: 0
  readinessGates: [{conditionType: bondkeeper.io/BondsReady}]
  containers:
  - {name: main, image: "%s", imagePullPolicy: Never}
`, name, strings.Join(networks, ", "), nodeName, workloadImage)
}

// apply applies objects as YAML text.
func (c *cluster) apply(t *testing.T, documents ...string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "objects.yaml")
	kit.Must(t, os.WriteFile(file, []byte(strings.Join(documents, "")), 0o600))
	c.kubectl(t, "apply", "--filename", file)
}

// applyOverlay applies the project's manifests as an administrator does, with the address of this run's API server.
func (c *cluster) applyOverlay(t *testing.T) {
	t.Helper()
	api, err := url.Parse(c.GuestURL())
	kit.Must(t, err)
	documents := c.kubectl(t, "kustomize", filepath.Join(c.top, "test/e2e/overlay"))
	c.apply(t, strings.NewReplacer("API_HOST", api.Hostname(), "API_PORT", strconv.Quote(api.Port())).Replace(documents))
}
