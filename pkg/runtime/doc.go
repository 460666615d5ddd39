// Package runtime lists the sandboxes of a node's container runtime: containerd through its own client, any other
// (CRI-O) through the CRI.
//
// It changes nothing in a runtime, knows neither bonds nor records, and does not decide what is released.
package runtime
