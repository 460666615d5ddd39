// Package bond is the vocabulary of Bondkeeper: what a pod bond is called
// (Key), what is wanted of it (Record, Spec, Member), what the kernel says of it
// (Observed) and what is told about it (Status); and the table of the kernel's
// bonding options with the rules for each.
//
// The package holds data and its validation. It imports the standard library
// only, does no I/O and knows nothing of netlink, files or Kubernetes.
package bond
