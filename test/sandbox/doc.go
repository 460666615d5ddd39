// Package sandbox tries on a real containerd what becomes of bonds whose sandbox ends: with a DEL,
// without one, while the runtime is away, and with a reboot. It runs in the lab's guest, with pods made over the
// CRI and bonds of VFs in them, as a kubelet and Multus would make them.
//
// What is needed there: make kube plugins build, and Debian's runc and busybox-static (make deps).
package sandbox
