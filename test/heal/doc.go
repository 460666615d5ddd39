// Package heal breaks bonds of real VFs in every way that Faults lists, and checks that the real agent repairs them. It
// runs in a guest of the lab: the real plugins make the bonds of two pods, which ping each other.
//
// State is read with independent tools: ip(8), /proc/net/bonding and ping(8). Of the agent only its log is used, to
// know when it detected and repaired something.
//
// TestSoak takes random walks over verbs and faults with several pods and bonds, against a model of the node.
//
// Tests (build tag lab) and the demo share this package. It runs only in the guest and does not depend on how the guest
// is booted.
package heal
