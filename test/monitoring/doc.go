// Package monitoring tests manifests/components/monitoring with a real Prometheus and promtool (make prometheus): the
// rules, and the metrics of a running agent. Its tests have the build tag kube.
package monitoring
