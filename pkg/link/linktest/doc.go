// Package linktest has Fake, a stateful kernel in memory with network namespaces, PFs, VFs and bonds, and RunContract,
// the suite that defines the behaviour of any kernel, the real one included. The suite runs on the fake, on veth in a
// netns, and on bonding with real VFs in the lab. If they differ, the kernel is right and the fake is changed.
//
// The package is for tests only. It may import packages bond and plan, but not reconcile or link.
package linktest
