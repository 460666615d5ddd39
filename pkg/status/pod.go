package status

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// podEntry is a pod that has bonds. The reporter's mutex guards all of it but report and slow: the queue makes sure that
// only one sender at a time uses those.
type podEntry struct {
	pod    bond.Pod
	bonds  map[bond.Key]*bondEntry
	report podReport
	// slow: the last request timed out although the API server was ready.
	slow bool
	// notBefore is when the pod may be synced after one of its bonds was forgotten.
	notBefore time.Time
	// version increases with every change of bonds; reported is the last version of which nothing is left to report.
	version, reported int
	// mergeUntil is the end of the window after the last patch, in which changes are merged.
	mergeUntil time.Time
}

// bondEntry is the latest status of one bond.
type bondEntry struct {
	status bond.Status
	order  int
}

// desiredState is what the pod's status should have.
type desiredState struct {
	list      []bond.Status // sorted by interface
	text      string
	condition corev1.PodCondition // without its time
	digest    string
}

func newDesiredState(list []bond.Status) desiredState {
	d := desiredState{list: list, text: annotation(list), condition: conditionOf(list)}
	c := d.condition
	sum := sha256.Sum256([]byte(strings.Join([]string{d.text, string(c.Status), c.Reason, c.Message}, "\x00")))
	d.digest = hex.EncodeToString(sum[:16])
	return d
}

// statuses returns the pod's bonds, one per interface, sorted. If an older sandbox of the pod is not released yet, the
// bond that carries counts, or else the newer one.
func (p *podEntry) statuses() []bond.Status {
	best := map[string]*bondEntry{}
	for k, e := range p.bonds {
		old := best[k.IfName]
		if old == nil || better(e, old) {
			best[k.IfName] = e
		}
	}
	list := make([]bond.Status, 0, len(best))
	for _, e := range best {
		list = append(list, e.status)
	}
	slices.SortFunc(list, func(a, b bond.Status) int { return cmp.Compare(a.Key.IfName, b.Key.IfName) })
	return list
}

func better(a, b *bondEntry) bool {
	if x, y := carries(&a.status), carries(&b.status); x != y {
		return x
	}
	return a.order > b.order
}

// restored reports whether every bond that was reported before a restart is known again.
func (p *podEntry) restored() bool {
	for key := range p.report.lastReported.Bonds {
		k, err := bond.ParseKey(key)
		if err == nil && p.bonds[k] == nil {
			return false
		}
	}
	return true
}

// bondCheckpoints returns the states that the next events are derived from. A bond in repair keeps its previous state,
// from which it recovers.
func bondCheckpoints(before map[string]bondCheckpoint, list []bond.Status) map[string]bondCheckpoint {
	after := map[string]bondCheckpoint{}
	for i := range list {
		s := &list[i]
		now := bondCheckpoint{State: s.State, Repairs: s.Repairs}
		if s.State == bond.StateRepairing {
			now = before[s.Key.String()]
		}
		after[s.Key.String()] = now
	}
	return after
}
