// Package rights runs the agent in a container with the rights that the DaemonSet of manifests/ gives it, and
// with one of them missing at a time, on real bonds in the lab's guest: what it has is enough, and nothing of it is
// more than that. The container is runc's, with the defaults and the seccomp profile of containerd. All tests carry
// the build tag lab.
package rights
