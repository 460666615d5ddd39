package status

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// The kinds of requests.
const (
	kindGet   = "get"
	kindPatch = "patch"
)

type metrics struct {
	requests *prometheus.CounterVec
	failures *prometheus.CounterVec
	success  prometheus.Gauge
}

// newMetrics returns metrics with all series from the start: the first increase of a series that begins with 1 is lost
// to Prometheus.
func newMetrics() metrics {
	m := metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bondkeeper_pod_requests_total", Help: "Successful requests about pods: patch, or get, to look for Multus's annotation.",
		}, []string{"kind"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bondkeeper_pod_request_failures_total", Help: "Failed requests about pods: API server unavailable, pod not_found, or patch rejected.",
		}, []string{"reason"}),
		success: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "bondkeeper_pod_last_success_timestamp_seconds", Help: "Unix time of the last successful request about a pod.",
		}),
	}
	for _, kind := range []string{kindGet, kindPatch} {
		m.requests.WithLabelValues(kind)
	}
	for _, class := range []errorClass{unavailable, notFound, rejected} {
		m.failures.WithLabelValues(string(class))
	}
	return m
}

func (m *metrics) succeeded(kind string) {
	m.requests.WithLabelValues(kind).Inc()
	m.success.SetToCurrentTime()
}

func (m *metrics) failed(class errorClass) { m.failures.WithLabelValues(string(class)).Inc() }

// Register adds the reporter's metrics to those of the agent.
func (r *Reporter) Register(to prometheus.Registerer) error {
	pending := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "bondkeeper_pods_pending", Help: "Pods whose status does not show the latest state of their bonds yet.",
	}, func() float64 { return float64(r.PendingPods()) })
	return register(to, r.metrics.requests, r.metrics.failures, r.metrics.success, pending)
}

// PendingPods returns the number of pods whose latest state is not reported yet.
func (r *Reporter) PendingPods() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, p := range r.pods {
		if p.version != p.reported {
			n++
		}
	}
	return n
}

// Register adds the number of bonds per state to the agent's metrics.
func (l *TransitionLogger) Register(to prometheus.Registerer) error {
	var all []prometheus.Collector
	for _, state := range []bond.State{bond.StateReady, bond.StateDegraded, bond.StateDown, bond.StateRepairing, bond.StateStuck} {
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "bondkeeper_bonds", Help: "Bonds of this node by state.", ConstLabels: prometheus.Labels{"state": string(state)},
		}, func() float64 { return float64(l.BondsByState()[state]) }))
	}
	all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "bondkeeper_bonds_fighting", Help: "Bonds whose repairs another writer keeps undoing, so that they are limited.",
	}, func() float64 { n, _ := l.Fights(); return float64(n) }), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "bondkeeper_contested_settings", Help: "Requested settings of this node's bonds where another writer's value was accepted.",
	}, func() float64 { _, n := l.Fights(); return float64(n) }))
	return register(to, all...)
}

func register(to prometheus.Registerer, all ...prometheus.Collector) error {
	var errs []error
	for _, c := range all {
		errs = append(errs, to.Register(c))
	}
	return errors.Join(errs...)
}
