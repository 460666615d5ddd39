package status

import (
	"context"
	"time"

	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// NetworkStatus is the annotation that Multus writes when a pod's networks are up. It is only read.
const NetworkStatus = "k8s.v1.cni.cncf.io/network-status"

// The waits between two checks for Multus's annotation, and after a rejected patch. The first check waits as well: Multus
// writes when all networks are up.
const (
	minNetworkCheck, maxNetworkCheck = time.Second, 8 * time.Second
	minRejectPause, maxRejectPause   = time.Second, 5 * time.Minute
)

// never: the pod is synced again when something changes, which puts it into the queue.
const never = time.Duration(-1)

// syncPod sends at most one request for a pod and returns when to sync it again.
func (r *Reporter) syncPod(ctx context.Context, pod bond.Pod) time.Duration {
	p := r.lookup(pod)
	if p == nil {
		r.deleteCheckpoint(pod)
		return never
	}
	r.loadCheckpoint(p)
	if _, wait := r.pending(p); wait != 0 {
		return wait
	}
	if wait, ok := r.breaker.allow(time.Now()); !ok {
		return wait
	}
	if r.limiter.Wait(ctx) != nil {
		return never // ctx has ended
	}
	// What changed during the wait is part of the request.
	d, wait := r.pending(p)
	switch {
	case wait != 0:
		r.breaker.cancel()
		return wait
	case !p.multusDone:
		return r.checkNetwork(ctx, p, d)
	default:
		return r.patch(ctx, p, d)
	}
}

// pending returns what has to be reported of a pod, and how long to wait first: never if nothing has to be.
func (r *Reporter) pending(p *podState) (desiredState, time.Duration) {
	now := time.Now()
	r.mu.Lock()
	list, known, notBefore, version := p.statuses(), p.bondsRestored(), p.notBefore, p.version
	r.mu.Unlock()
	if len(list) == 0 || p.lastReported.NotFound {
		r.markReported(p, version)
		return desiredState{}, never
	}
	if deadline := p.since.Add(restoreTimeout); !p.restored && !known && now.Before(deadline) {
		return desiredState{}, deadline.Sub(now)
	}
	p.restored = true
	d := newDesiredState(list)
	if d.digest == p.lastReported.Digest {
		r.markReported(p, version)
		return d, never
	}
	if at := laterOf(notBefore, r.breaker.nextAllowed()); now.Before(at) {
		return d, at.Sub(now)
	}
	return d, 0
}

// checkNetwork checks for Multus's network status. After NetworkWait the pod's status is reported without it.
func (r *Reporter) checkNetwork(ctx context.Context, p *podState, d desiredState) time.Duration {
	found, err := r.api.get(ctx, p.pod)
	if err != nil {
		return r.failed(ctx, p, err)
	}
	r.succeeded(kindGet)
	now := time.Now()
	deadline := p.since.Add(r.c.NetworkWait)
	written := found.Annotations[NetworkStatus] != ""
	if written && r.c.NetworkStatus != nil {
		r.c.NetworkStatus(p.pod)
	}
	if written || !now.Before(deadline) {
		p.multusDone = true
		p.adoptFromPod(found, d)
		if p.lastReported.Digest != "" {
			r.saveCheckpoint(p)
		}
		return 0
	}
	p.networkChecks++
	next := now.Add(backoff(minNetworkCheck, maxNetworkCheck, p.networkChecks+1))
	if next.After(deadline) {
		next = deadline
	}
	r.delayUntil(p, next)
	return 0
}

func (r *Reporter) patch(ctx context.Context, p *podState, d desiredState) time.Duration {
	at := p.transitionTime(d, time.Now())
	d.condition.LastTransitionTime = metav1.NewTime(at)
	if err := r.api.patch(ctx, p.pod, d.text, d.condition); err != nil {
		return r.failed(ctx, p, err)
	}
	r.succeeded(kindPatch)
	before := p.lastReported.Bonds
	p.rejections = 0
	p.lastReported.Digest, p.lastReported.Status, p.lastReported.Since = d.digest, d.condition.Status, at
	p.lastReported.Bonds = bondCheckpoints(before, d.list)
	r.saveCheckpoint(p)
	for i := range d.list {
		r.emitEvent(p.pod, before[d.list[i].Key.String()], &d.list[i])
	}
	r.mu.Lock()
	p.extendWindow(time.Now(), r.c.Window, r.c.LastWindow)
	r.mu.Unlock()
	return 0 // later changes wait for the window
}

// failed handles an error of a request and returns when to sync the pod again.
func (r *Reporter) failed(ctx context.Context, p *podState, err error) time.Duration {
	now := time.Now()
	if ctx.Err() != nil {
		r.breaker.cancel()
		return never
	}
	class, after := classifyError(err)
	r.metrics.failed(class)
	fields := []zap.Field{zap.String("pod", p.pod.String()), zap.String("uid", p.pod.UID), zap.Error(err)}
	if r.breaker.done(now, class != unavailable, after) {
		if class == unavailable {
			r.c.Log.Warn("API server unavailable; status reports wait, repair does not", zap.Error(err))
		} else {
			r.c.Log.Info(apiServerBack)
		}
	}
	switch class {
	case notFound:
		r.c.Log.Info("pod not found; its status is no longer reported", fields...)
		p.lastReported.NotFound = true
		r.saveCheckpoint(p)
	case rejected:
		p.rejections++
		wait := jitter(backoff(minRejectPause, maxRejectPause, p.rejections))
		r.c.Log.Warn("API server rejected the pod's status", append(fields, zap.Duration("retryAfter", wait))...)
		r.delayUntil(p, now.Add(wait))
	}
	return 0
}

// apiServerBack is logged once after an outage.
const apiServerBack = "API server available again"

// succeeded records a successful request.
func (r *Reporter) succeeded(kind string) {
	if r.breaker.done(time.Now(), true, 0) {
		r.c.Log.Info(apiServerBack)
	}
	r.metrics.succeeded(kind)
}

func (r *Reporter) delayUntil(p *podState, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.notBefore = laterOf(p.notBefore, until)
}

// markReported records that nothing is left to report up to version.
func (r *Reporter) markReported(p *podState, version int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.reported = version
}

func (r *Reporter) lookup(pod bond.Pod) *podState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pods[pod]
}

// loadCheckpoint reads the pod's checkpoint, once. Without one, the first request checks for Multus's network status.
func (r *Reporter) loadCheckpoint(p *podState) {
	if p.loaded {
		return
	}
	p.loaded = true
	var err error
	if p.lastReported, err = r.checkpoints.load(p.pod); err != nil {
		r.c.Log.Warn("status checkpoint unreadable; reading the pod", zap.String("pod", p.pod.String()), zap.Error(err))
	}
	p.multusDone = p.lastReported.Digest != ""
	if !p.multusDone {
		r.delayUntil(p, p.since.Add(minNetworkCheck))
	}
}

// saveCheckpoint saves what was reported. If it fails, a restarted agent reads the pod.
func (r *Reporter) saveCheckpoint(p *podState) {
	if err := r.checkpoints.save(p.lastReported); err != nil {
		r.c.Log.Warn("cannot save status checkpoint", zap.String("pod", p.pod.String()), zap.Error(err))
	}
}

func (r *Reporter) deleteCheckpoint(pod bond.Pod) {
	if err := r.checkpoints.remove(pod); err != nil {
		r.c.Log.Warn("cannot delete status checkpoint", zap.String("pod", pod.String()), zap.Error(err))
	}
}
