// Package sandboxgc releases bonds whose sandbox ended without a DEL: Multus calls none for a pod whose cache it has
// lost, and a runtime whose state was deleted calls none at all. What remains is a record, and the addresses that IPAM
// has allocated.
//
// A sandbox is gone if two conditions hold for a whole period: its path does not lead to its netns, and no answer of
// the container runtime has it. The package checks these conditions; the engine releases the bond.
package sandboxgc
