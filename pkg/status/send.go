package status

import (
	"context"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// NetworkStatus is the annotation that Multus writes when a pod's networks are up. It is only read.
const NetworkStatus = "k8s.v1.cni.cncf.io/network-status"

// syncPod sends at most one request for a pod and returns when to sync it again.
func (r *Reporter) syncPod(ctx context.Context, pod bond.Pod) time.Duration {
	p := r.lookup(pod)
	if p == nil {
		r.deleteCheckpoint(pod)
		return never
	}
	if p.report.state == starting {
		r.step(p, loaded{r.loadCheckpoint(pod)})
	}
	if _, a := r.compare(p); a.send == "" {
		return a.wait
	}
	if p.slow {
		select {
		case r.slowSender <- struct{}{}:
			defer func() { <-r.slowSender }()
		default:
			return slowRetry
		}
	}
	if wait, ok := r.breaker.allow(time.Now()); !ok {
		return wait
	}
	if r.limiter.Wait(ctx) != nil {
		return never // ctx has ended
	}
	// What changed during the wait is part of the request.
	d, a := r.compare(p)
	switch a.send {
	case kindGet:
		return r.checkNetwork(ctx, p, d)
	case kindPatch:
		return r.patch(ctx, p, d, a.transitionTime)
	default:
		r.breaker.cancel()
		return a.wait
	}
}

// step applies an input to the state of the pod's report.
func (r *Reporter) step(p *podEntry, in input) action {
	var a action
	p.report, a = p.report.next(&r.c, in, time.Now())
	if a.save {
		r.saveCheckpoint(p.pod, p.report.lastReported)
	}
	return a
}

// compare compares the latest state of the pod's bonds with what was reported, and returns it and what to do.
func (r *Reporter) compare(p *podEntry) (desiredState, action) {
	r.mu.Lock()
	list, restored, notBefore, version := p.statuses(), p.restored(), p.notBefore, p.version
	r.mu.Unlock()
	d := newDesiredState(list)
	a := r.step(p, synced{d, restored, laterOf(notBefore, r.breaker.nextAllowed())})
	if a.wait == never {
		r.mu.Lock()
		p.reported = version
		r.mu.Unlock()
	}
	return d, a
}

// checkNetwork checks for Multus's network status.
func (r *Reporter) checkNetwork(ctx context.Context, p *podEntry, d desiredState) time.Duration {
	found, err := r.api.get(ctx, p.pod)
	if err != nil {
		return r.failed(ctx, p, err)
	}
	r.succeeded(p, kindGet)
	if found.Annotations[NetworkStatus] != "" && r.c.NetworkStatus != nil {
		r.c.NetworkStatus(p.pod)
	}
	return r.step(p, checked{found, d}).wait
}

func (r *Reporter) patch(ctx context.Context, p *podEntry, d desiredState, transitionTime time.Time) time.Duration {
	d.condition.LastTransitionTime = metav1.NewTime(transitionTime)
	if err := r.api.patch(ctx, p.pod, d.text, d.condition); err != nil {
		return r.failed(ctx, p, err)
	}
	r.succeeded(p, kindPatch)
	before := p.report.lastReported.Bonds
	a := r.step(p, patched{d, transitionTime})
	r.mu.Lock()
	p.mergeUntil = p.report.notBefore
	r.mu.Unlock()
	for i := range d.list {
		r.emitEvent(p.pod, before[d.list[i].Key.String()], &d.list[i])
	}
	return a.wait
}

// failed handles an error of a request and returns when to sync the pod again.
func (r *Reporter) failed(ctx context.Context, p *podEntry, err error) time.Duration {
	class, after := classifyError(err)
	if class == unavailable && timedOut(err) && r.api.ready(ctx) {
		class, p.slow = rejected, true // a webhook for this pod hangs, for example
	}
	if ctx.Err() != nil {
		r.breaker.cancel()
		return never
	}
	r.metrics.failed(class)
	if r.breaker.done(time.Now(), class != unavailable, after) {
		if class == unavailable {
			r.c.Log.Warn("API server unavailable; status reports wait, repair does not", zap.Error(err))
		} else {
			r.c.Log.Info(apiServerBack)
		}
	}
	a := r.step(p, failed{class, rand.Float64()})
	fields := []zap.Field{zap.String("pod", p.pod.String()), zap.String("uid", p.pod.UID), zap.Error(err)}
	switch class {
	case notFound:
		r.c.Log.Info("pod not found; its status is no longer reported", fields...)
	case rejected:
		r.c.Log.Warn("API server rejected the pod's status", append(fields, zap.Duration("retryAfter", a.wait))...)
	}
	return a.wait
}

// apiServerBack is logged once after an outage.
const apiServerBack = "API server available again"

// succeeded records a successful request.
func (r *Reporter) succeeded(p *podEntry, kind string) {
	p.slow = false
	if r.breaker.done(time.Now(), true, 0) {
		r.c.Log.Info(apiServerBack)
	}
	r.metrics.succeeded(kind)
}

func (r *Reporter) lookup(pod bond.Pod) *podEntry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pods[pod]
}

// loadCheckpoint returns the pod's checkpoint. Without a readable one the first request reads the pod.
func (r *Reporter) loadCheckpoint(pod bond.Pod) podCheckpoint {
	c, err := r.checkpoints.load(pod)
	if err != nil {
		r.c.Log.Warn("status checkpoint unreadable; reading the pod", zap.String("pod", pod.String()), zap.Error(err))
	}
	return c
}

// saveCheckpoint saves what was reported. If it fails, a restarted agent reads the pod.
func (r *Reporter) saveCheckpoint(pod bond.Pod, c podCheckpoint) {
	if err := r.checkpoints.save(c); err != nil {
		r.c.Log.Warn("cannot save status checkpoint", zap.String("pod", pod.String()), zap.Error(err))
	}
}

func (r *Reporter) deleteCheckpoint(pod bond.Pod) {
	if err := r.checkpoints.remove(pod); err != nil {
		r.c.Log.Warn("cannot delete status checkpoint", zap.String("pod", pod.String()), zap.Error(err))
	}
}
