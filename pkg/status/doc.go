// Package status tells how the bonds are: the log by Journal, the terminal by WriteTable, the
// pod by Reporter, and all of them in metrics. It gets a bond.Status after every look at a bond
// and says only what has changed. It reads nothing from the kernel and decides nothing, and who
// gives it a status waits for nobody: what the API server does or does not do stays in here.
//
// The Reporter keeps one state a pod and puts the pod into a queue when that changes. A few
// senders take pods from it; one request each, and then the pod waits in the queue for the next
// time. What was told is in a file (ledger), so that a restart repeats nothing. All requests of
// the node pass one token bucket, and one gate, which is closed while the API server is away.
//
// The format of the annotation is package v1.
package status
