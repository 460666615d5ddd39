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

// RepairMetrics counts losses and repairs of all bonds. It is safe for concurrent use.
type RepairMetrics struct {
	losses, repairs, failures *prometheus.CounterVec
	lastLoss                  *prometheus.GaugeVec // without labels; without a value until the first loss
}

// NewRepairMetrics returns RepairMetrics that have a series per cause of a subject and per action from the start: the
// first increase of a series that begins with 1 is lost to Prometheus.
func NewRepairMetrics(causes func(bond.Subject) []string, actions []string) *RepairMetrics {
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
		lastLoss: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "bondkeeper_last_loss_timestamp_seconds", Help: "Unix time when the last loss was found; absent if there was none since the agent started.",
		}, nil),
	}
	for _, subject := range []bond.Subject{bond.SubjectBond, bond.SubjectMember} {
		for _, cause := range causes(subject) {
			m.losses.WithLabelValues(string(subject), cause)
			m.repairs.WithLabelValues(string(subject), cause, resultRecovered)
			m.repairs.WithLabelValues(string(subject), cause, resultAbandoned)
		}
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

// Recovered counts a loss that ended.
func (m *RepairMetrics) Recovered(s bond.Subject, cause string, _ time.Duration) {
	m.repairs.WithLabelValues(string(s), cause, resultRecovered).Inc()
}

// Abandoned counts a loss whose bond was released.
func (m *RepairMetrics) Abandoned(s bond.Subject, cause string) {
	m.repairs.WithLabelValues(string(s), cause, resultAbandoned).Inc()
}

// ActionFailed counts a rejected change.
func (m *RepairMetrics) ActionFailed(action string) { m.failures.WithLabelValues(action).Inc() }

// Register adds the metrics to those of the agent.
func (m *RepairMetrics) Register(to prometheus.Registerer) error {
	return register(to, m.losses, m.repairs, m.failures, m.lastLoss)
}
