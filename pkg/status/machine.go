package status

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/bondkeeper/bondkeeper/pkg/status/v1"
)

// podState is one of the states of a pod's report; docs/design.md has their diagram.
type podState string

const (
	// starting: the checkpoint is not loaded yet.
	starting podState = "starting"
	// restoring: some bonds that were reported before a restart are not known again yet.
	restoring podState = "restoring"
	// waitingForMultus: nothing was reported yet; the pod is checked for Multus's network status.
	waitingForMultus podState = "waiting for Multus"
	// clean: the last patch has the latest state of the bonds.
	clean podState = "clean"
	// dirty: the pod is patched as soon as its window and the circuit breaker allow it.
	dirty podState = "dirty"
	// backingOff: the API server rejected the last request, which is sent again after a pause.
	backingOff podState = "backing off"
	// gone: the API server has no such pod. Nothing is sent any more.
	gone podState = "gone"
)

const (
	// restoreTimeout is how long a restarted agent waits for the bonds that were reported before.
	restoreTimeout = 30 * time.Second
	// The waits between two checks for Multus's annotation. The first check waits as well: Multus writes when all
	// networks are up.
	minNetworkCheck, maxNetworkCheck = time.Second, 8 * time.Second
	// The waits after a rejected request.
	minRejectPause, maxRejectPause = time.Second, 5 * time.Minute
)

// podReport is the state of a pod's report, and what its transitions depend on. Only next changes it.
type podReport struct {
	state        podState
	since        time.Time     // when the pod's first bond was reported
	lastReported podCheckpoint // what the checkpoint has or will have
	// notBefore is when the next request for this pod may be sent.
	notBefore     time.Time
	networkChecks int
	// sent is the time of the last patch, window the minimum time from it to the next.
	sent       time.Time
	window     time.Duration
	rejections int      // requests in a row
	resumeIn   podState // the state after backingOff
}

// The inputs of the state machine: one of these types.
type (
	input any

	// loaded: the checkpoint was read; it is empty if there is no readable one.
	loaded struct{ checkpoint podCheckpoint }
	// synced: the pod was taken from the queue.
	synced struct {
		desired   desiredState // without bonds if all were forgotten
		restored  bool         // every bond of the checkpoint is known
		notBefore time.Time    // when a request may be sent, apart from the pod's own notBefore
	}
	// checked: the API server returned the pod.
	checked struct {
		found   *corev1.Pod
		desired desiredState
	}
	// patched: the API server accepted the patch, whose condition has this transition time.
	patched struct {
		desired        desiredState
		transitionTime time.Time
	}
	// failed: a request failed; chance is between 0 and 1, for the jitter of the pause.
	failed struct {
		class  errorClass
		chance float64
	}
)

// action is what follows from an input: a request, or a wait for the next sync.
type action struct {
	// send is the kind of the request; empty for no request.
	send string
	// transitionTime is that of the condition in a patch.
	transitionTime time.Time
	// wait is the time until the next sync; never if only a change of the pod's bonds causes one.
	wait time.Duration
	save bool // the checkpoint
}

// never: the pod is synced again when something changes, which puts it into the queue.
const never = time.Duration(-1)

// next returns the state after an input, and what to do. It is a pure function: it has no effects, and the clock and
// chance are arguments.
func (p podReport) next(c *Config, in input, now time.Time) (podReport, action) {
	switch in := in.(type) {
	case loaded:
		return p.load(in)
	case synced:
		return p.sync(in, now)
	case checked:
		return p.check(c, in, now)
	case patched:
		return p.patch(c, in, now)
	default:
		return p.fail(in.(failed), now)
	}
}

// load continues where the last agent ended. Without a checkpoint the first request checks for Multus's network status.
func (p podReport) load(in loaded) (podReport, action) {
	p.state, p.lastReported = restoring, in.checkpoint
	if p.lastReported.NotFound {
		p.state = gone
	}
	if p.lastReported.Digest == "" {
		p.notBefore = p.since.Add(minNetworkCheck)
	}
	return p, action{}
}

// sync compares what was reported with what is desired. A request may follow.
func (p podReport) sync(in synced, now time.Time) (podReport, action) {
	if p.state == gone || len(in.desired.list) == 0 {
		return p, action{wait: never}
	}
	if p.state == restoring {
		if deadline := p.since.Add(restoreTimeout); !in.restored && now.Before(deadline) {
			return p, action{wait: deadline.Sub(now)}
		}
		p.state = clean
		if p.lastReported.Digest == "" {
			p.state = waitingForMultus
		}
	}
	switch {
	case in.desired.digest == p.lastReported.Digest:
		p.state = clean
		return p, action{wait: never}
	case p.state == clean:
		p.state = dirty
	case p.state == backingOff && !now.Before(p.notBefore):
		p.state = p.resumeIn
	}
	if at := laterOf(p.notBefore, in.notBefore); now.Before(at) {
		return p, action{wait: at.Sub(now)}
	}
	if p.state == waitingForMultus {
		return p, action{send: kindGet}
	}
	return p, action{send: kindPatch, transitionTime: p.transitionTime(in.desired, now)}
}

// check looks for Multus's network status. After NetworkWait the pod's status is reported without it.
func (p podReport) check(c *Config, in checked, now time.Time) (podReport, action) {
	deadline := p.since.Add(c.NetworkWait)
	if in.found.Annotations[NetworkStatus] == "" && now.Before(deadline) {
		p.networkChecks++
		at := now.Add(backoff(minNetworkCheck, maxNetworkCheck, p.networkChecks+1))
		if at.After(deadline) {
			at = deadline
		}
		p.notBefore = at
		return p, action{}
	}
	p.state = dirty
	if p.adoptFromPod(in.found, in.desired) {
		p.state = clean
	}
	return p, action{save: p.state == clean}
}

// patch records what was reported. The window doubles up to LastWindow, and starts again at Window after a pause of
// twice LastWindow.
func (p podReport) patch(c *Config, in patched, now time.Time) (podReport, action) {
	d := in.desired
	p.state, p.rejections = clean, 0
	p.lastReported.Digest, p.lastReported.Status, p.lastReported.Since = d.digest, d.condition.Status, in.transitionTime
	p.lastReported.Bonds = bondCheckpoints(p.lastReported.Bonds, d.list)
	p.window = min(2*p.window, c.LastWindow)
	if now.Sub(p.sent) > 2*c.LastWindow { // the first patch as well
		p.window = c.Window
	}
	p.sent = now
	p.notBefore = now.Add(p.window)
	return p, action{save: true} // changes since then wait for the window
}

// fail leaves the pause to the circuit breaker if the API server is unavailable.
func (p podReport) fail(in failed, now time.Time) (podReport, action) {
	switch in.class {
	case notFound:
		p.state, p.lastReported.NotFound = gone, true
		return p, action{save: true}
	case rejected:
		p.rejections++
		pause := jitter(backoff(minRejectPause, maxRejectPause, p.rejections), in.chance)
		p.notBefore = now.Add(pause)
		p.state, p.resumeIn = backingOff, p.state
		return p, action{wait: pause}
	default:
		return p, action{}
	}
}

// adoptFromPod is used if there is no checkpoint. It takes the condition's status and time from the pod. If the pod has
// the desired state already, it takes all of that, and returns true.
func (p *podReport) adoptFromPod(found *corev1.Pod, d desiredState) bool {
	for _, c := range found.Status.Conditions {
		if c.Type != v1.Condition {
			continue
		}
		p.lastReported.Status, p.lastReported.Since = c.Status, c.LastTransitionTime.Time
		want := d.condition
		if found.Annotations[v1.Annotation] == d.text &&
			c.Status == want.Status && c.Reason == want.Reason && c.Message == want.Message {
			p.lastReported.Digest, p.lastReported.Bonds = d.digest, bondCheckpoints(nil, d.list)
		}
	}
	return p.lastReported.Digest != ""
}

// transitionTime returns since when the condition has the status of d: now, if it changes.
func (p *podReport) transitionTime(d desiredState, now time.Time) time.Time {
	if p.lastReported.Status == d.condition.Status && !p.lastReported.Since.IsZero() {
		return p.lastReported.Since
	}
	return now.UTC().Truncate(time.Second) // the API server's precision
}
