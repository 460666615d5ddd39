// Package sriovcni reads the files of the sriov-cni plugin on a node: the requested settings of a VF, its claim, and
// the lock that the plugin takes while it changes a VF.
//
// The formats are those of sriov-cni 2.x. The package writes nothing but missing lock files, and deletes nothing. It
// does not use netlink and makes no decisions.
package sriovcni
