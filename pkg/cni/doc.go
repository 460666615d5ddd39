// Package cni is the CNI plugin of type "bond": ADD, DEL, CHECK, GC and STATUS. It
// reads what the runtime hands over, checks all of it before anything is touched,
// turns it into a record, and leaves every change of the kernel to reconcile.Engine.
//
// It calls IPAM plugins (package ipam) and nothing else: no netlink, no setns, no Kubernetes. What it
// needs of the machine comes in through Backend.
package cni
