// Package agent has what the agent does beside repairing and reporting bonds, which are pkg/reconcile and pkg/status:
// it waits for the node's lock, serves probes and metrics, counts repeated log lines, finds the API server, lists the
// records for other packages, and inspects bonds for `agent status`. Command agent connects it to the other packages.
package agent
