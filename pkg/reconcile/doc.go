// Package reconcile brings a pod bond into its recorded state: lock, load, observe, plan, apply, observe again. The CNI
// plugin and the agent both use Engine; the bond's lock is their only coordination.
//
// The package declares the interfaces that it needs and does not know their implementations: no netlink, no setns, no
// files, no Kubernetes.
package reconcile
