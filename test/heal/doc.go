// Package heal tells the project's main story and proves it: in a guest of the lab two pods ping each
// other over bonds of real VFs, made by the real plugins; the bonds are broken in every way that
// Faults lists, and the real agent puts them back.
//
// What is true is read with other tools than ours: ip(8), /proc/net/bonding and ping(8). Of the
// agent only its log is used, to know when it saw and did something.
//
// TestSoak takes random walks over verbs and faults with several pods and bonds, against a model of the node.
//
// Tests (build tag lab) and the demo share this package; it runs in the guest only and knows nothing
// of how the guest is booted.
package heal
