// Package podsetup knows from outside whether the set-up of a pod's networks is complete: Multus has written the pod's
// network status, or the container runtime has a container in the sandbox.
//
// It decides nothing about bonds and changes nothing. What it returns comes from memory, so that no repair waits for a
// runtime or for Kubernetes.
package podsetup
