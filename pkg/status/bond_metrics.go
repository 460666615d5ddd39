package status

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// BondMetrics are gauges of the latest state of each bond. It is safe for concurrent use.
type BondMetrics struct {
	// perPod: there is a series per bond, with the name of its pod.
	perPod bool
	mu     sync.Mutex
	bonds  map[bond.Key]bondState
}

// bondState is what a bond.Status has for the metrics.
type bondState struct {
	pod                 bond.Pod
	state               bond.State
	members             []bond.MemberState
	fighting, contested int
}

// NewBondMetrics returns BondMetrics without bonds.
func NewBondMetrics(perPod bool) *BondMetrics {
	return &BondMetrics{perPod: perPod, bonds: map[bond.Key]bondState{}}
}

// Report takes the status of a bond.
func (m *BondMetrics) Report(s bond.Status) {
	now := bondState{pod: s.Pod, state: s.State, fighting: s.Fighting, contested: s.Contested}
	for i := range s.Members {
		now.members = append(now.members, s.Members[i].State)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bonds[s.Key] = now
}

// Forget drops a bond whose record is gone.
func (m *BondMetrics) Forget(k bond.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.bonds, k)
}

// Register adds the metrics to those of the agent.
func (m *BondMetrics) Register(to prometheus.Registerer) error { return register(to, m) }

// bondGauges are the gauges of one scrape.
type bondGauges struct {
	bonds, members, info *prometheus.GaugeVec
	fighting, contested  prometheus.Gauge
}

func newBondGauges() bondGauges {
	g := bondGauges{
		bonds: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "bondkeeper_bonds", Help: "Bonds of this node by state.",
		}, []string{"state"}),
		members: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "bondkeeper_bond_members", Help: "Members of this node's bonds by state, as in the pod's annotation.",
		}, []string{"state"}),
		info: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "bondkeeper_bond_state_info", Help: "1 for each bond in its state; only with --metrics-per-pod.",
		}, []string{"namespace", "pod", "bond", "state"}),
		fighting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "bondkeeper_bonds_fighting", Help: "Bonds whose repairs another writer keeps undoing, so that they are limited.",
		}),
		contested: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "bondkeeper_contested_settings", Help: "Requested settings of this node's bonds where another writer's value was accepted.",
		}),
	}
	for _, s := range bond.States() {
		if s != bond.StateDeleting {
			g.bonds.WithLabelValues(string(s))
		}
	}
	for _, s := range bond.MemberStates() {
		g.members.WithLabelValues(string(s))
	}
	return g
}

func (g *bondGauges) all() []prometheus.Collector {
	return []prometheus.Collector{g.bonds, g.members, g.info, g.fighting, g.contested}
}

// Describe implements prometheus.Collector.
func (m *BondMetrics) Describe(to chan<- *prometheus.Desc) {
	g := newBondGauges()
	for _, c := range g.all() {
		c.Describe(to)
	}
}

// Collect implements prometheus.Collector.
func (m *BondMetrics) Collect(to chan<- prometheus.Metric) {
	g := newBondGauges()
	m.mu.Lock()
	for k, b := range m.bonds {
		if m.perPod && b.pod.Name != "" {
			// CNI_ARGS may have any bytes; a label value must be UTF-8.
			g.info.WithLabelValues(sanitize(b.pod.Namespace, maxName), sanitize(b.pod.Name, maxName), sanitize(k.IfName, maxName), string(b.state)).Set(1)
		}
		g.fighting.Add(float64(min(b.fighting, 1)))
		g.contested.Add(float64(b.contested))
		if b.state == bond.StateDeleting {
			continue
		}
		g.bonds.WithLabelValues(string(b.state)).Inc()
		for _, s := range b.members {
			g.members.WithLabelValues(string(s)).Inc()
		}
	}
	m.mu.Unlock()
	for _, c := range g.all() {
		c.Collect(to)
	}
}
