// Package status reports the state of bonds: TransitionLogger in the log, Reporter on the
// pod, and all of them in metrics. Its input is one bond.Status per reconcile; it reports only what has changed. It
// reads nothing from the kernel and makes no decisions about bonds. Callers never wait for the API server.
//
// The Reporter has one state machine per pod (machine.go), and puts a pod into a queue when its bonds change. A few
// senders take pods from the queue. They ask the state machine what to do and send one request at most, after which the
// pod waits in the queue again. What was reported is in a checkpoint file per pod, so that a restarted agent repeats
// nothing. All requests of the node share one token bucket and one circuit breaker, which is open while the API server
// is unavailable.
//
// Package v1 has the format of the annotation.
package status
