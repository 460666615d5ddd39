package main

import (
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/bondkeeper/bondkeeper/pkg/reconcile/controller"
	"github.com/bondkeeper/bondkeeper/pkg/status"
	"github.com/bondkeeper/bondkeeper/pkg/watch"
)

// stallLimit is longer than any piece of work takes, and than three of the resync's own periods.
const stallLimit = 3 * time.Minute

// health serves probes and metrics. Until keeping is called the agent is alive and not ready: it
// waits for another one to end.
type health struct{ handler atomic.Pointer[http.Handler] }

func newHealth() *health {
	h := new(health)
	h.set(newHealthHandler(nil, []probe{{"agent", func() error {
		return errors.New("this agent is not running yet: it is starting, or waits for the lock of another agent")
	}}}, nil))
	return h
}

func (h *health) set(handler http.Handler) { h.handler.Store(&handler) }

func (h *health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	(*h.handler.Load()).ServeHTTP(w, r)
}

// started: from now on health is that of the monitor and the controller. Records that cannot be listed make the agent
// not ready; a restart would not help.
func (h *health) started(monitor *watch.Monitor, worker *controller.Controller, resync time.Duration, metrics *prometheus.Registry) {
	resyncs := func() uint64 { return monitor.Stats().Resyncs }
	live := []probe{
		{"watching", stalled(max(stallLimit, 3*resync), resyncs, func() bool { return true })},
		{"converging", stalled(stallLimit, worker.Finished, worker.Busy)},
	}
	ready := []probe{{"watching", func() error {
		if monitor.Stats().Relists == 0 {
			return errors.New("the records have not been listed yet")
		}
		return nil
	}}}
	h.set(newHealthHandler(live, ready, promhttp.HandlerFor(metrics, promhttp.HandlerOpts{})))
}

// newMetrics collects the metrics of all packages.
func newMetrics(transitions *status.TransitionLogger, reporter reporter, monitor *watch.Monitor, worker *controller.Controller) (*prometheus.Registry, error) {
	all := prometheus.NewRegistry()
	errs := []error{
		all.Register(collectors.NewGoCollector()),
		all.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})),
		transitions.Register(all), reporter.Register(all),
		all.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "bondkeeper_failed_releases", Help: "Bonds of ended pods whose addresses remain allocated because the last release failed, for example because the IPAM plugin failed.",
		}, func() float64 { return float64(worker.FailedReleases()) })),
	}
	for _, c := range []struct {
		name, help string
		value      func(watch.Stats) uint64
	}{
		{"bondkeeper_kernel_events_total", "Kernel events read, without those that the filter in the kernel drops.", func(s watch.Stats) uint64 { return s.Events }},
		{"bondkeeper_kernel_events_relevant_total", "Kernel events that concerned a bond of this node.", func(s watch.Stats) uint64 { return s.Relevant }},
		{"bondkeeper_kernel_event_overruns_total", "Times when kernel events may have been lost; every bond was reconciled.", func(s watch.Stats) uint64 { return s.Overruns }},
	} {
		errs = append(errs, all.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: c.name, Help: c.help}, func() float64 {
			return float64(c.value(monitor.Stats()))
		})))
	}
	return all, errors.Join(errs...)
}
