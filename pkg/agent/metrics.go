package agent

import (
	"errors"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/bondkeeper/bondkeeper/pkg/reconcile"
	"github.com/bondkeeper/bondkeeper/pkg/status"
	"github.com/bondkeeper/bondkeeper/pkg/watch"
)

// NewRepairMetrics returns metrics with all causes and actions that the engine may report.
func NewRepairMetrics() *status.RepairMetrics {
	return status.NewRepairMetrics(reconcile.LossCauses, reconcile.Findings(), reconcile.Actions())
}

// Sources are what metrics are made of.
type Sources struct {
	Version  string
	Bonds    *status.BondMetrics
	Repairs  *status.RepairMetrics
	Reporter Reporter
	Monitor  Monitor
	Worker   Worker
	// Unreadable is the number of records that cannot be read.
	Unreadable *atomic.Int64
}

// NewMetrics returns the metrics of all packages.
func NewMetrics(s Sources) (*prometheus.Registry, error) {
	all := prometheus.NewRegistry()
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "bondkeeper_build_info", Help: "1, with the version of the agent.",
	}, []string{"version"})
	build.WithLabelValues(s.Version).Set(1)
	errs := []error{
		all.Register(collectors.NewGoCollector()),
		all.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})),
		all.Register(build),
		s.Bonds.Register(all), s.Repairs.Register(all), s.Reporter.Register(all),
		all.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "bondkeeper_failed_releases", Help: "Bonds of ended pods whose addresses remain allocated because the last release failed, for example because the IPAM plugin failed.",
		}, func() float64 { return float64(s.Worker.FailedReleases()) })),
		all.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "bondkeeper_unreadable_records", Help: "Records of bonds that are damaged or of a newer version. Their bonds are not repaired, and in no other metric.",
		}, func() float64 { return float64(s.Unreadable.Load()) })),
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
			return float64(c.value(s.Monitor.Stats()))
		})))
	}
	return all, errors.Join(errs...)
}
