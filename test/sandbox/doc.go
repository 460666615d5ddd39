// Package sandbox tests on a real containerd what happens to bonds whose sandbox ends: with a DEL, without one, while
// the runtime is not running, and with a reboot. It runs in the lab's guest. Pods are made over the CRI, with bonds of
// VFs, as a kubelet and Multus do.
//
// It needs make kube plugins build, and Debian's runc and busybox-static (make deps).
package sandbox
