// Package controller is the agent's side of package reconcile: events enqueue keys, and a few workers reconcile the
// bonds. It decides when to reconcile, never what to do. It is separate from package reconcile so that the CNI plugin,
// which uses the engine once, does not contain the work queue.
package controller
