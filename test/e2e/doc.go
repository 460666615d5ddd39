// Package e2e runs the whole of it as a cluster would: a real control plane on this machine's loopback, and in a
// guest of the lab a node with kubelet, containerd and SR-IOV cards, where the agent is a DaemonSet of the
// project's own image and manifests. Pods get their VFs from host-device and their bond from the plugin that the
// DaemonSet installed, called by metaplugin in Multus' place. All tests carry the build tag e2e (make e2e).
package e2e
