// Package install installs the CNI plugin into a node's directory of CNI binaries. At every moment the directory has a
// complete plugin: the previous one, or the new one after it has been run successfully.
//
// It knows no kernel links, no records and no Kubernetes.
package install
