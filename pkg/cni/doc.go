// Package cni is the CNI plugin of type "bond": ADD, DEL, CHECK, GC and STATUS. It checks the runtime's whole input
// before it changes anything, and converts it to a record. All changes in the kernel are made by reconcile.Engine.
//
// It calls IPAM plugins (package ipam) and nothing else: no netlink, no setns, no Kubernetes. It accesses the machine
// through Backend.
package cni
