// Package linktest is the ground on which everything that talks to the kernel is
// tested: Fake, a stateful kernel of network namespaces, PFs, VFs and bonds in memory, and
// RunContract, the suite that says what any kernel must do, the real one included. The
// suite runs on the fake, on veth in a netns and on bonding with real VFs in the lab;
// where they differ the kernel is right and the fake is mended.
//
// The package is for tests only. It may import the vocabulary and the actions, and
// never package reconcile or package link.
package linktest
