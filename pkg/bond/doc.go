// Package bond has the types that all parts of Bondkeeper share: a pod bond's identity (Key), its desired state
// (Record, Spec, Member), the state in the kernel (Observed) and the reported state (Status). It also has the table of
// the kernel's bonding options with the rules for each.
//
// The package contains data and its validation. It imports the standard library only, and does no I/O.
package bond
