// Package install puts the CNI plugin into a node's directory of CNI binaries, so that at every moment there is
// a whole plugin under its name: the one that was there, or the new one after it has been seen to run.
//
// The room holds files and the programs in them. It knows no kernel links, no records and no Kubernetes.
package install
