// Package podsetup has external evidence that the set-up of a pod's networks is complete: Multus has written the pod's
// network status, or the container runtime has a container in the sandbox.
//
// It makes no decisions about bonds and changes nothing. It returns what it has in memory, so that no repair waits for
// a runtime or for Kubernetes.
package podsetup
