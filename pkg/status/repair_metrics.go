package status

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// The results of repairs.
const (
	resultRecovered = "recovered"
	resultAbandoned = "abandoned" // the bond was released first
)

// The phases of a repair.
const (
	phaseAbsent = "absent"
	phaseRepair = "repair"
)

// repairBuckets are in seconds: most repairs take less than one, the reset of a card some, and a firmware update
// minutes.
var repairBuckets = []float64{0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600}

// Native histograms have buckets that grow by a tenth, and at most so many of them. If there would be more they are
// reset, but not sooner than after nativeReset.
const (
	nativeFactor     = 1.1
	nativeMaxBuckets = 100
	nativeReset      = time.Hour
)

// RepairMetrics counts losses and repairs of all bonds. It is safe for concurrent use.
type RepairMetrics struct {
	losses, repairs, failures *prometheus.CounterVec
	resync                    *prometheus.CounterVec
	lastLoss                  *prometheus.GaugeVec // without labels; without a value until the first loss
	duration, phases          *prometheus.HistogramVec
}

// NewRepairMetrics returns RepairMetrics that have a series per cause of a subject, finding and action from the start:
// the first increase of a series that begins with 1 is lost to Prometheus.
func NewRepairMetrics(causes func(bond.Subject) []string, findings, actions []string) *RepairMetrics {
	m := &RepairMetrics{
		losses: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bondkeeper_losses_total", Help: "Losses found on bonds and members, by cause. One that was open when the agent started is not counted again.",
		}, []string{"subject", "cause"}),
		repairs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bondkeeper_repairs_total", Help: "Ends of losses: recovered, or abandoned because the bond was released first.",
		}, []string{"subject", "cause", "result"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bondkeeper_action_failures_total", Help: "Changes that the kernel or a driver rejected, or that had no effect, by kind. They are retried.",
		}, []string{"action"}),
		resync: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bondkeeper_resync_findings_total", Help: "Findings that a periodic resync was the first to see: no event has reported them.",
		}, []string{"cause"}),
		lastLoss: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "bondkeeper_last_loss_timestamp_seconds", Help: "Unix time when the last loss was found; absent if there was none since the agent started.",
		}, nil),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "bondkeeper_repair_duration_seconds", Help: "Time from when a loss was found until everything was as recorded again.",
			Buckets: repairBuckets, NativeHistogramBucketFactor: nativeFactor, NativeHistogramMaxBucketNumber: nativeMaxBuckets, NativeHistogramMinResetDuration: nativeReset,
		}, []string{"subject"}),
		phases: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "bondkeeper_repair_phase_duration_seconds", Help: "Parts of the repair duration: absent, while the member was in neither the pod nor the host, and repair, the rest.",
			Buckets: repairBuckets, NativeHistogramBucketFactor: nativeFactor, NativeHistogramMaxBucketNumber: nativeMaxBuckets, NativeHistogramMinResetDuration: nativeReset,
		}, []string{"phase"}),
	}
	for _, subject := range []bond.Subject{bond.SubjectBond, bond.SubjectMember} {
		m.duration.WithLabelValues(string(subject))
		for _, cause := range causes(subject) {
			m.losses.WithLabelValues(string(subject), cause)
			m.repairs.WithLabelValues(string(subject), cause, resultRecovered)
			m.repairs.WithLabelValues(string(subject), cause, resultAbandoned)
		}
	}
	for _, phase := range []string{phaseAbsent, phaseRepair} {
		m.phases.WithLabelValues(phase)
	}
	for _, cause := range findings {
		m.resync.WithLabelValues(cause)
	}
	for _, action := range actions {
		m.failures.WithLabelValues(action)
	}
	return m
}

// Lost counts a loss.
func (m *RepairMetrics) Lost(s bond.Subject, cause string) {
	m.losses.WithLabelValues(string(s), cause).Inc()
	m.lastLoss.WithLabelValues().SetToCurrentTime()
}

// Recovered counts a loss that ended after took. For absent of that the member was in neither the pod nor the host.
func (m *RepairMetrics) Recovered(s bond.Subject, cause string, took, absent time.Duration) {
	m.repairs.WithLabelValues(string(s), cause, resultRecovered).Inc()
	m.duration.WithLabelValues(string(s)).Observe(took.Seconds())
	m.phases.WithLabelValues(phaseRepair).Observe((took - absent).Seconds())
	if absent > 0 {
		m.phases.WithLabelValues(phaseAbsent).Observe(absent.Seconds())
	}
}

// Abandoned counts a loss whose bond was released.
func (m *RepairMetrics) Abandoned(s bond.Subject, cause string) {
	m.repairs.WithLabelValues(string(s), cause, resultAbandoned).Inc()
}

// ActionFailed counts a rejected change.
func (m *RepairMetrics) ActionFailed(action string) { m.failures.WithLabelValues(action).Inc() }

// FoundByResync counts a finding that no event has reported.
func (m *RepairMetrics) FoundByResync(cause string) { m.resync.WithLabelValues(cause).Inc() }

// Register adds the metrics to those of the agent.
func (m *RepairMetrics) Register(to prometheus.Registerer) error {
	return register(to, m.losses, m.repairs, m.failures, m.resync, m.lastLoss, m.duration, m.phases)
}
