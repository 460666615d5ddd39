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

// podState is what is known of one pod. bonds, notBefore, version and done are guarded by the
// reporter's mutex; the rest is used by one sender at a time, as the queue sees to.
type podState struct {
	pod   bond.Pod
	since time.Time // when it was first told of
	bonds map[bond.Key]*heard
	// notBefore is when the next request for this pod may be made.
	notBefore time.Time
	// version goes up with every change of bonds; of done it is known that nothing is left to
	// be told.
	version, done int

	said   said
	loaded bool // said was read from its file
	whole  bool // all bonds that the pod was told of before a restart are known again
	seen   bool // Multus has written its part, or was waited for
	looks  int
	// sent is when the last patch was, window the least time from it to the next.
	sent    time.Time
	window  time.Duration
	refused int // patches in a row
}

// heard is the latest of one bond.
type heard struct {
	status bond.Status
	order  int
}

// draft is what would be told of a pod now.
type draft struct {
	list      []bond.Status // sorted by interface
	text      string
	condition corev1.PodCondition // without its time
	digest    string
}

func draftOf(list []bond.Status) draft {
	d := draft{list: list, text: annotation(list), condition: conditionOf(list)}
	c := d.condition
	sum := sha256.Sum256([]byte(strings.Join([]string{d.text, string(c.Status), c.Reason, c.Message}, "\x00")))
	d.digest = hex.EncodeToString(sum[:16])
	return d
}

// statuses are the pod's bonds, one an interface, sorted. Where an older sandbox of the pod
// has not been released yet, the bond that carries is the pod's, or else the newer one.
func (p *podState) statuses() []bond.Status {
	best := map[string]*heard{}
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

func better(a, b *heard) bool {
	if x, y := carries(&a.status), carries(&b.status); x != y {
		return x
	}
	return a.order > b.order
}

// knownAgain says that every bond the pod was told of before a restart has been told of since.
func (p *podState) knownAgain() bool {
	for key := range p.said.Bonds {
		k, err := bond.ParseKey(key)
		if err == nil && p.bonds[k] == nil {
			return false
		}
	}
	return true
}

// space sets when the pod may be patched again, now that it was: after twice the time that it
// waited last, up to last, until it was left alone for longer than that.
func (p *podState) space(now time.Time, first, last time.Duration) {
	p.window = min(2*p.window, last)
	if p.window == 0 || now.Sub(p.sent) > 2*last {
		p.window = first
	}
	p.sent = now
	p.notBefore = later(p.notBefore, now.Add(p.window))
}

// adopt takes over what stands on the pod, where no file told it: the condition's time, and,
// when nothing differs, that nothing is to be told.
func (p *podState) adopt(found *corev1.Pod, d draft) {
	for _, c := range found.Status.Conditions {
		if c.Type != v1.Condition {
			continue
		}
		p.said.Status, p.said.Since = c.Status, c.LastTransitionTime.Time
		want := d.condition
		if found.Annotations[v1.Annotation] == d.text && c.Status == want.Status && c.Reason == want.Reason && c.Message == want.Message {
			p.said.Digest, p.said.Bonds = d.digest, bondsSaid(nil, d.list)
		}
	}
}

// transition is since when the condition has the status of d: now, if it had another.
func (p *podState) transition(d draft, now time.Time) time.Time {
	if p.said.Status == d.condition.Status && !p.said.Since.IsZero() {
		return p.said.Since
	}
	return now.UTC().Truncate(time.Second) // as the API server keeps it
}

// bondsSaid is what events go by the next time. A bond that is being repaired keeps the state
// it had before: that is what it will have come back from.
func bondsSaid(before map[string]saidBond, list []bond.Status) map[string]saidBond {
	after := map[string]saidBond{}
	for i := range list {
		s := &list[i]
		now := saidBond{State: s.State, Repairs: s.Repairs}
		if s.State == bond.StateRepairing {
			now = before[s.Key.String()]
		}
		after[s.Key.String()] = now
	}
	return after
}
