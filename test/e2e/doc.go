// Package e2e runs the project in a cluster: a real control plane on this machine's loopback, and a node in a guest of
// the lab, with kubelet, containerd and SR-IOV cards. The agent is a DaemonSet of the project's own image and
// manifests. Multus and sriov-cni are stand-ins (make e2e) or the real programs (make test-peers). All tests have the
// build tag e2e.
package e2e
