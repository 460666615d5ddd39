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
	v1 "github.com/bondkeeper/bondkeeper/pkg/status/v1"
)

// podState is the state of one pod. The reporter's mutex guards bonds, notBefore, version and reported. The queue makes
// sure that only one sender at a time uses the rest.
type podState struct {
	pod   bond.Pod
	since time.Time // when its first bond was reported
	bonds map[bond.Key]*bondEntry
	// notBefore is when the next request for this pod may be made.
	notBefore time.Time
	// version increases with every change of bonds; reported is the last version of which nothing is left to report.
	version, reported int

	lastReported  podCheckpoint
	loaded        bool // lastReported was read from its file
	restored      bool // all bonds that were reported before a restart are known again
	multusDone    bool // Multus has written its network status, or NetworkWait is over
	networkChecks int
	// sent is the time of the last patch, window the minimum time from it to the next.
	sent       time.Time
	window     time.Duration
	rejections int // patches in a row
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
func (p *podState) statuses() []bond.Status {
	best := map[string]*bondEntry{}
	for k, h := range p.bonds {
		old := best[k.IfName]
		if old == nil || better(h, old) {
			best[k.IfName] = h
		}
	}
	list := make([]bond.Status, 0, len(best))
	for _, h := range best {
		list = append(list, h.status)
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

// bondsRestored reports whether every bond that was reported before a restart is known again.
func (p *podState) bondsRestored() bool {
	for key := range p.lastReported.Bonds {
		k, err := bond.ParseKey(key)
		if err == nil && p.bonds[k] == nil {
			return false
		}
	}
	return true
}

// extendWindow is called after a patch and sets when the next one is allowed. The window doubles up to last, and starts
// again at first after a pause of twice last.
func (p *podState) extendWindow(now time.Time, first, last time.Duration) {
	p.window = min(2*p.window, last)
	if p.window == 0 || now.Sub(p.sent) > 2*last {
		p.window = first
	}
	p.sent = now
	p.notBefore = laterOf(p.notBefore, now.Add(p.window))
}

// adoptFromPod is used if there is no checkpoint: it takes the condition's time from the pod, and the rest too if the pod
// has the desired state already.
func (p *podState) adoptFromPod(found *corev1.Pod, d desiredState) {
	for _, c := range found.Status.Conditions {
		if c.Type != v1.Condition {
			continue
		}
		p.lastReported.Status, p.lastReported.Since = c.Status, c.LastTransitionTime.Time
		want := d.condition
		if found.Annotations[v1.Annotation] == d.text && c.Status == want.Status && c.Reason == want.Reason && c.Message == want.Message {
			p.lastReported.Digest, p.lastReported.Bonds = d.digest, bondCheckpoints(nil, d.list)
		}
	}
}

// transitionTime returns since when the condition has the status of d: now, if it changes.
func (p *podState) transitionTime(d desiredState, now time.Time) time.Time {
	if p.lastReported.Status == d.condition.Status && !p.lastReported.Since.IsZero() {
		return p.lastReported.Since
	}
	return now.UTC().Truncate(time.Second) // the API server's precision
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
