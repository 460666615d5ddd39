// Package e2e runs the whole of it as a cluster would: a real control plane on this machine's loopback, and in a
// guest of the lab a node with kubelet, containerd and SR-IOV cards, where the agent is a DaemonSet of the
// project's own image and manifests. Multus and sriov-cni are stand-ins (make e2e) or the real programs (make
// test-peers). All tests carry the build tag e2e.
package e2e
