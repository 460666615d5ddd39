package status

import (
	"context"
	"time"

	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// NetworkStatus is the annotation that Multus writes when a pod's networks are up. It is read
// and never written.
const NetworkStatus = "k8s.v1.cni.cncf.io/network-status"

// The waits between two looks at a pod for Multus's annotation, and after a patch that the
// API server refused. The first look waits as well: Multus writes when all networks are up.
const (
	firstLook, lastLook       = time.Second, 8 * time.Second
	firstRefused, lastRefused = time.Second, 5 * time.Minute
)

// never is no time to attend to a pod again: whoever has news puts it into the queue.
const never = time.Duration(-1)

// attend tells a pod what is to be told, by one request at most, and returns when to attend to
// it again.
func (r *Reporter) attend(ctx context.Context, pod bond.Pod) time.Duration {
	p := r.state(pod)
	if p == nil {
		r.unsay(pod)
		return never
	}
	r.recall(p)
	if _, wait := r.due(p); wait != 0 {
		return wait
	}
	if wait, ok := r.gate.enter(time.Now()); !ok {
		return wait
	}
	if r.limiter.Wait(ctx) != nil {
		return never // ctx has ended
	}
	// What was told while it waited for its turn goes with it.
	d, wait := r.due(p)
	switch {
	case wait != 0:
		r.gate.cancel()
		return wait
	case !p.seen:
		return r.look(ctx, p, d)
	default:
		return r.patch(ctx, p, d)
	}
}

// due is what is to be told of a pod, and for how long it must wait: never when there is nothing.
func (r *Reporter) due(p *podState) (draft, time.Duration) {
	now := time.Now()
	r.mu.Lock()
	list, known, notBefore, version := p.statuses(), p.knownAgain(), p.notBefore, p.version
	r.mu.Unlock()
	if len(list) == 0 || p.said.Gone {
		r.settle(p, version)
		return draft{}, never
	}
	if settled := p.since.Add(settling); !p.whole && !known && now.Before(settled) {
		return draft{}, settled.Sub(now)
	}
	p.whole = true
	d := draftOf(list)
	if d.digest == p.said.Digest {
		r.settle(p, version)
		return d, never
	}
	if at := later(notBefore, r.gate.opens()); now.Before(at) {
		return d, at.Sub(now)
	}
	return d, 0
}

// look asks whether Multus has written its part. A pod that it has not been written on for so
// long gets its state all the same.
func (r *Reporter) look(ctx context.Context, p *podState, d draft) time.Duration {
	found, err := r.api.look(ctx, p.pod)
	if err != nil {
		return r.failed(ctx, p, err)
	}
	r.answered(kindLook)
	now := time.Now()
	deadline := p.since.Add(r.c.NetworkWait)
	written := found.Annotations[NetworkStatus] != ""
	if written && r.c.NetworkStatus != nil {
		r.c.NetworkStatus(p.pod)
	}
	if written || !now.Before(deadline) {
		p.seen = true
		p.adopt(found, d)
		if p.said.Digest != "" {
			r.say(p)
		}
		return 0
	}
	p.looks++
	next := now.Add(backoff(firstLook, lastLook, p.looks+1))
	if next.After(deadline) {
		next = deadline
	}
	r.hold(p, next)
	return 0
}

func (r *Reporter) patch(ctx context.Context, p *podState, d draft) time.Duration {
	at := p.transition(d, time.Now())
	d.condition.LastTransitionTime = metav1.NewTime(at)
	if err := r.api.patch(ctx, p.pod, d.text, d.condition); err != nil {
		return r.failed(ctx, p, err)
	}
	r.answered(kindPatch)
	before := p.said.Bonds
	p.refused = 0
	p.said.Digest, p.said.Status, p.said.Since = d.digest, d.condition.Status, at
	p.said.Bonds = bondsSaid(before, d.list)
	r.say(p)
	for i := range d.list {
		r.announce(p.pod, before[d.list[i].Key.String()], &d.list[i])
	}
	r.mu.Lock()
	p.space(time.Now(), r.c.Window, r.c.LastWindow)
	r.mu.Unlock()
	return 0 // what was told meanwhile waits for the window
}

// failed decides what an error means and when to try again.
func (r *Reporter) failed(ctx context.Context, p *podState, err error) time.Duration {
	now := time.Now()
	if ctx.Err() != nil {
		r.gate.cancel()
		return never
	}
	kind, after := classify(err)
	r.metrics.failed(kind)
	who := []zap.Field{zap.String("pod", p.pod.String()), zap.String("uid", p.pod.UID), zap.Error(err)}
	if r.gate.leave(now, kind != away, after) {
		if kind == away {
			r.c.Log.Warn("the API server does not answer as it should; bonds are kept all the same, and pods are told when it does", zap.Error(err))
		} else {
			r.c.Log.Info("the API server answers again")
		}
	}
	switch kind {
	case gone:
		r.c.Log.Info("the API server has no such pod; it is told no more", who...)
		p.said.Gone = true
		r.say(p)
	case refused:
		p.refused++
		wait := spread(backoff(firstRefused, lastRefused, p.refused))
		r.c.Log.Warn("the API server refused to have the state of a pod's bonds written on it", append(who, zap.Duration("retryAfter", wait))...)
		r.hold(p, now.Add(wait))
	}
	return 0
}

// answered notes that a request succeeded.
func (r *Reporter) answered(kind string) {
	if r.gate.leave(time.Now(), true, 0) {
		r.c.Log.Info("the API server answers again")
	}
	r.metrics.answered(kind)
}

func (r *Reporter) hold(p *podState, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.notBefore = later(p.notBefore, until)
}

// settle notes that nothing is left to be told of what was known at version.
func (r *Reporter) settle(p *podState, version int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.done = version
}

func (r *Reporter) state(pod bond.Pod) *podState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pods[pod]
}

// recall reads what the pod was told, once. A pod that was told nothing is left to Multus first.
func (r *Reporter) recall(p *podState) {
	if p.loaded {
		return
	}
	p.loaded = true
	var err error
	if p.said, err = r.ledger.load(p.pod); err != nil {
		r.c.Log.Warn("what the pod was told is not known any more; it is looked at", zap.String("pod", p.pod.String()), zap.Error(err))
	}
	p.seen = p.said.Digest != ""
	if !p.seen {
		r.hold(p, p.since.Add(firstLook))
	}
}

// say keeps what the pod was told. A failure costs a look at the pod after a restart.
func (r *Reporter) say(p *podState) {
	if err := r.ledger.save(p.said); err != nil {
		r.c.Log.Warn("what the pod was told cannot be kept", zap.String("pod", p.pod.String()), zap.Error(err))
	}
}

func (r *Reporter) unsay(pod bond.Pod) {
	if err := r.ledger.remove(pod); err != nil {
		r.c.Log.Warn("what the pod was told cannot be removed", zap.String("pod", pod.String()), zap.Error(err))
	}
}
