package status

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// The kinds of requests.
const (
	kindLook  = "look"
	kindPatch = "patch"
)

type metrics struct {
	requests *prometheus.CounterVec
	failures *prometheus.CounterVec
	success  prometheus.Gauge
}

func newMetrics() metrics {
	return metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bondkeeper_pod_requests_total", Help: "Requests about pods that the API server answered: patch, or look for Multus's annotation.",
		}, []string{"kind"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bondkeeper_pod_request_failures_total", Help: "Requests about pods that failed: API server away, pod gone, or refused.",
		}, []string{"why"}),
		success: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "bondkeeper_pod_last_success_timestamp_seconds", Help: "When the API server last answered a request about a pod, in Unix time.",
		}),
	}
}

func (m *metrics) answered(kind string) {
	m.requests.WithLabelValues(kind).Inc()
	m.success.SetToCurrentTime()
}

func (m *metrics) failed(why fault) { m.failures.WithLabelValues(string(why)).Inc() }

// Register adds the reporter's metrics to those of the agent.
func (r *Reporter) Register(to prometheus.Registerer) error {
	pending := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "bondkeeper_pods_pending", Help: "Pods that have not been told the latest state of their bonds yet.",
	}, func() float64 { return float64(r.Pending()) })
	return register(to, r.metrics.requests, r.metrics.failures, r.metrics.success, pending)
}

// Pending is how many pods have not been told the latest yet.
func (r *Reporter) Pending() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, p := range r.pods {
		if p.version != p.done {
			n++
		}
	}
	return n
}

// Register adds what the journal knows to the agent's metrics: how many bonds are in each
// state, and how many repairs it has heard of.
func (j *Journal) Register(to prometheus.Registerer) error {
	var all []prometheus.Collector
	for _, state := range []bond.State{bond.StateReady, bond.StateDegraded, bond.StateDown, bond.StateRepairing, bond.StateStuck} {
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "bondkeeper_bonds", Help: "Bonds of this node by state.", ConstLabels: prometheus.Labels{"state": string(state)},
		}, func() float64 { return float64(j.Count()[state]) }))
	}
	all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "bondkeeper_bonds_fighting", Help: "Bonds whose repairs another writer keeps undoing, so that they are limited.",
	}, func() float64 { n, _ := j.Fights(); return float64(n) }), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "bondkeeper_contested_settings", Help: "Requested settings of this node's bonds that were given up to another writer.",
	}, func() float64 { _, n := j.Fights(); return float64(n) }))
	all = append(all, prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "bondkeeper_repairs_total", Help: "Repairs since the agent started.",
	}, func() float64 { return float64(j.Repairs()) }))
	return register(to, all...)
}

func register(to prometheus.Registerer, all ...prometheus.Collector) error {
	var errs []error
	for _, c := range all {
		errs = append(errs, to.Register(c))
	}
	return errors.Join(errs...)
}
