package status

import (
	"reflect"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	v1 "github.com/bondkeeper/bondkeeper/pkg/status/v1"
)

// began is when the first bond of every pod here was reported; at is a time since then.
var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func at(d time.Duration) time.Time { return began.Add(d) }

// transition is one step of the state machine.
type transition struct {
	name string
	from podReport
	in   input
	at   time.Duration
	want podReport
	do   action
}

func runTransitions(t *testing.T, all []transition) {
	t.Helper()
	c := &Config{}
	c.defaults()
	for _, tr := range all {
		t.Run(tr.name, func(t *testing.T) {
			got, do := tr.from.next(c, tr.in, at(tr.at))
			if !reflect.DeepEqual(got, tr.want) {
				t.Errorf("from %q to\n%+v, want\n%+v", tr.from.state, got, tr.want)
			}
			if do != tr.do {
				t.Errorf("%+v, want %+v", do, tr.do)
			}
		})
	}
}

var (
	testBond = bond.Status{
		Key: bond.Key{ContainerID: "c1", IfName: "bond0"}, State: bond.StateReady, Repairs: 3,
		Members: []bond.MemberStatus{{Name: "net1", State: bond.MemberActive}},
	}
	ready   = newDesiredState([]bond.Status{testBond})
	down    = newDesiredState([]bond.Status{withState(testBond, bond.StateDown)})
	repair  = newDesiredState([]bond.Status{withState(testBond, bond.StateRepairing)})
	noBonds = newDesiredState(nil)
	// reportedReady is the checkpoint after ready was reported, a minute before the agent's start.
	reportedReady = podCheckpoint{
		Digest: ready.digest, Status: corev1.ConditionTrue, Since: at(-time.Minute),
		Bonds: map[string]bondCheckpoint{testBond.Key.String(): {State: bond.StateReady, Repairs: 3}},
	}
)

func withState(s bond.Status, state bond.State) bond.Status {
	s.State = state
	return s
}

// in returns a report in a state, with what a pod has there.
func in(s podState) podReport {
	p := podReport{state: s, since: began}
	switch s {
	case waitingForMultus:
		p.notBefore = at(minNetworkCheck)
	case restoring, clean, dirty:
		p.lastReported = reportedReady
	case backingOff:
		p.lastReported, p.notBefore, p.rejections, p.resumeIn = reportedReady, at(time.Minute), 1, dirty
	case gone:
		p.lastReported.NotFound = true
	}
	return p
}

// but returns p after a change.
func (p podReport) but(change func(*podReport)) podReport {
	change(&p)
	return p
}

func state(s podState) func(*podReport) { return func(p *podReport) { p.state = s } }

func TestCheckpointLoaded(t *testing.T) {
	runTransitions(t, []transition{
		{
			name: "no checkpoint", from: in(starting), in: loaded{}, at: time.Second,
			want: in(restoring).but(func(p *podReport) { p.lastReported, p.notBefore = podCheckpoint{}, at(minNetworkCheck) }),
		},
		{name: "checkpoint", from: in(starting), in: loaded{reportedReady}, want: in(restoring)},
		{
			name: "pod that was not found", from: in(starting), in: loaded{podCheckpoint{NotFound: true}},
			want: in(gone).but(func(p *podReport) { p.notBefore = at(minNetworkCheck) }),
		},
	})
}

// TestSyncLeavesRestoring: the state after restoring depends on what was reported, and on time.
func TestSyncLeavesRestoring(t *testing.T) {
	first := in(restoring).but(func(p *podReport) { p.lastReported, p.notBefore = podCheckpoint{}, at(minNetworkCheck) })
	send := action{send: kindPatch, transitionTime: at(restoreTimeout)}
	runTransitions(t, []transition{
		{
			name: "a bond is missing", from: in(restoring), in: synced{desired: ready},
			at:   restoreTimeout - time.Second,
			want: in(restoring), do: action{wait: time.Second},
		},
		{
			name: "a bond is still missing", from: in(restoring), in: synced{desired: down}, at: restoreTimeout,
			want: in(dirty), do: send,
		},
		{
			name: "restored, unchanged", from: in(restoring), in: synced{desired: ready, restored: true},
			want: in(clean), do: action{wait: never},
		},
		{
			name: "restored, changed", from: in(restoring), in: synced{desired: down, restored: true},
			want: in(dirty), do: action{send: kindPatch, transitionTime: began},
		},
		{
			name: "nothing was reported", from: first, in: synced{desired: ready, restored: true},
			want: in(waitingForMultus), do: action{wait: minNetworkCheck},
		},
		{
			name: "bonds forgotten", from: in(restoring), in: synced{desired: noBonds},
			want: in(restoring), do: action{wait: never},
		},
	})
}

func TestSync(t *testing.T) {
	window := func(p *podReport) { p.notBefore = at(4 * time.Second) }
	multusLater := func(p *podReport) { p.lastReported, p.resumeIn = podCheckpoint{}, waitingForMultus }
	runTransitions(t, []transition{
		{
			name: "first check not due", from: in(waitingForMultus), in: synced{desired: ready},
			at:   minNetworkCheck - 1,
			want: in(waitingForMultus), do: action{wait: 1},
		},
		{
			name: "check due", from: in(waitingForMultus), in: synced{desired: ready}, at: minNetworkCheck,
			want: in(waitingForMultus), do: action{send: kindGet},
		},
		{
			name: "check due, breaker open", from: in(waitingForMultus),
			in:   synced{desired: ready, notBefore: at(5 * time.Second)},
			at:   minNetworkCheck,
			want: in(waitingForMultus), do: action{wait: 4 * time.Second},
		},
		{
			name: "clean, unchanged", from: in(clean), in: synced{desired: ready},
			want: in(clean), do: action{wait: never},
		},
		{
			name: "clean, changed", from: in(clean), in: synced{desired: down}, at: time.Second,
			want: in(dirty), do: action{send: kindPatch, transitionTime: at(time.Second)},
		},
		{
			name: "clean, changed in the window", from: in(clean).but(window), in: synced{desired: down},
			at:   time.Second,
			want: in(dirty).but(window), do: action{wait: 3 * time.Second},
		},
		{
			name: "window over", from: in(dirty).but(window), in: synced{desired: down}, at: 4 * time.Second,
			want: in(dirty).but(window), do: action{send: kindPatch, transitionTime: at(4 * time.Second)},
		},
		{
			name: "window over, breaker open", from: in(dirty).but(window),
			in:   synced{desired: down, notBefore: at(6 * time.Second)},
			at:   4 * time.Second,
			want: in(dirty).but(window), do: action{wait: 2 * time.Second},
		},
		{
			name: "dirty, changed back", from: in(dirty).but(window), in: synced{desired: ready},
			want: in(clean).but(window), do: action{wait: never},
		},
		{
			name: "dirty, bonds forgotten", from: in(dirty), in: synced{desired: noBonds},
			want: in(dirty), do: action{wait: never},
		},
		{
			name: "in the pause", from: in(backingOff), in: synced{desired: down}, at: 59 * time.Second,
			want: in(backingOff), do: action{wait: time.Second},
		},
		{
			name: "pause over", from: in(backingOff), in: synced{desired: down}, at: time.Minute,
			want: in(backingOff).but(state(dirty)), do: action{send: kindPatch, transitionTime: at(time.Minute)},
		},
		{
			name: "pause over, breaker open", from: in(backingOff), in: synced{desired: down, notBefore: at(62 * time.Second)},
			at:   time.Minute,
			want: in(backingOff).but(state(dirty)), do: action{wait: 2 * time.Second},
		},
		{
			name: "pause of a check over", from: in(backingOff).but(multusLater), in: synced{desired: down},
			at:   time.Minute,
			want: in(backingOff).but(multusLater).but(state(waitingForMultus)), do: action{send: kindGet},
		},
		{
			name: "in the pause, changed back", from: in(backingOff), in: synced{desired: ready},
			want: in(backingOff).but(state(clean)), do: action{wait: never},
		},
		{
			name: "gone", from: in(gone), in: synced{desired: down, restored: true}, at: time.Hour,
			want: in(gone), do: action{wait: never},
		},
	})
}

// TestConditionTime: a patch keeps the condition's time if its status stays, and otherwise has the current second.
func TestConditionTime(t *testing.T) {
	unknown := in(dirty).but(func(p *podReport) { p.lastReported.Since = time.Time{} })
	const now = 90*time.Second + 300*time.Millisecond
	runTransitions(t, []transition{
		{
			name: "status stays", from: in(dirty), in: synced{desired: repair}, at: now,
			want: in(dirty), do: action{send: kindPatch, transitionTime: at(-time.Minute)},
		},
		{
			name: "status changes", from: in(dirty), in: synced{desired: down}, at: now,
			want: in(dirty), do: action{send: kindPatch, transitionTime: at(90 * time.Second)},
		},
		{
			name: "time is unknown", from: unknown, in: synced{desired: repair}, at: now,
			want: unknown, do: action{send: kindPatch, transitionTime: at(90 * time.Second)},
		},
	})
}

// podWith returns a pod with Multus's network status and the given report.
func podWith(annotation string, conditions ...corev1.PodCondition) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{NetworkStatus: "[]", v1.Annotation: annotation}},
		Status:     corev1.PodStatus{Conditions: conditions},
	}
}

func TestCheckWithoutNetworkStatus(t *testing.T) {
	waiting := func(checks int, until time.Duration) podReport {
		return in(waitingForMultus).but(func(p *podReport) { p.networkChecks, p.notBefore = checks, at(until) })
	}
	without := checked{&corev1.Pod{}, ready}
	runTransitions(t, []transition{
		{name: "first", from: waiting(0, time.Second), in: without, at: time.Second, want: waiting(1, 3*time.Second)},
		{
			name: "second", from: waiting(1, 3*time.Second), in: without, at: 3 * time.Second,
			want: waiting(2, 7*time.Second),
		},
		{
			name: "fourth", from: waiting(3, 15*time.Second), in: without, at: 15 * time.Second,
			want: waiting(4, 23*time.Second),
		},
		{
			name: "shortly before the timeout", from: waiting(4, 23*time.Second), in: without, at: 23 * time.Second,
			want: waiting(5, 30*time.Second),
		},
		{
			name: "timeout", from: waiting(5, 30*time.Second), in: without, at: 30 * time.Second,
			want: waiting(5, 30*time.Second).but(state(dirty)),
		},
	})
}

func TestCheckWithNetworkStatus(t *testing.T) {
	condition := ready.condition
	condition.LastTransitionTime = metav1.NewTime(at(-time.Minute))
	changed := func(change func(*corev1.PodCondition)) corev1.PodCondition {
		c := condition
		change(&c)
		return c
	}
	other := changed(func(c *corev1.PodCondition) { c.Type = corev1.PodReady })
	// adopted is the report after the condition's status and time were taken from the pod.
	adopted := func(s corev1.ConditionStatus) podReport {
		return in(waitingForMultus).but(func(p *podReport) {
			p.state, p.lastReported.Status, p.lastReported.Since = dirty, s, at(-time.Minute)
		})
	}
	var all []transition
	for name, pod := range map[string]*corev1.Pod{
		"no report": podWith(""), "other condition": podWith(ready.text, other),
	} {
		all = append(all, transition{name: name, in: checked{pod, ready}, want: in(waitingForMultus).but(state(dirty))})
	}
	for name, pod := range map[string]*corev1.Pod{
		"other annotation": podWith("[]", condition),
		"other reason":     podWith(ready.text, changed(func(c *corev1.PodCondition) { c.Reason = "x" })),
		"other message":    podWith(ready.text, changed(func(c *corev1.PodCondition) { c.Message = "x" })),
	} {
		all = append(all, transition{name: name, in: checked{pod, ready}, want: adopted(corev1.ConditionTrue)})
	}
	isFalse := changed(func(c *corev1.PodCondition) { c.Status = corev1.ConditionFalse })
	all = append(all, transition{
		name: "other status", in: checked{podWith(ready.text, isFalse), ready}, want: adopted(corev1.ConditionFalse),
	}, transition{
		name: "desired state", in: checked{podWith(ready.text, other, condition), ready}, do: action{save: true},
		want: in(waitingForMultus).but(func(p *podReport) { p.state, p.lastReported = clean, reportedReady }),
	})
	for i := range all {
		all[i].from = in(waitingForMultus)
	}
	runTransitions(t, all)
}

func TestPatch(t *testing.T) {
	// windows are with the defaults: 1 s, up to 30 s.
	sent := func(last, window time.Duration) func(*podReport) {
		return func(p *podReport) { p.sent, p.window, p.notBefore = at(last), window, at(last+window) }
	}
	reportedDown := func(p *podReport) {
		p.lastReported = podCheckpoint{
			Digest: down.digest, Status: corev1.ConditionFalse, Since: at(time.Hour),
			Bonds: map[string]bondCheckpoint{testBond.Key.String(): {State: bond.StateDown, Repairs: 3}},
		}
	}
	first := in(waitingForMultus).but(state(dirty))
	done := func(p podReport) podReport { return p.but(state(clean)).but(reportedDown) }
	accepted := patched{down, at(time.Hour)}
	rejected := in(backingOff).but(state(dirty))
	var all []transition
	for _, c := range []struct {
		name       string
		from       podReport
		at, window time.Duration
	}{
		{"first", first, time.Minute, time.Second},
		{"second", in(dirty).but(sent(0, time.Second)), time.Second, 2 * time.Second},
		{"widest window", in(dirty).but(sent(0, 16*time.Second)), 16 * time.Second, 30 * time.Second},
		{"after a minute", in(dirty).but(sent(0, 16*time.Second)), time.Minute, 30 * time.Second},
		{"after more than a minute", in(dirty).but(sent(0, 16*time.Second)), time.Minute + 1, time.Second},
	} {
		want := done(c.from).but(sent(c.at, c.window))
		all = append(all, transition{name: c.name, from: c.from, in: accepted, at: c.at, want: want, do: action{save: true}})
	}
	all = append(all, transition{
		name: "after a rejection", from: rejected, in: accepted, at: time.Minute, do: action{save: true},
		want: done(rejected).but(sent(time.Minute, time.Second)).but(func(p *podReport) { p.rejections = 0 }),
	}, transition{ // the bond's next event is about its recovery from the state before the repair
		name: "repair", from: in(dirty), in: patched{repair, at(time.Hour)}, do: action{save: true},
		want: in(clean).but(sent(0, time.Second)).but(func(p *podReport) {
			p.lastReported.Digest, p.lastReported.Since = repair.digest, at(time.Hour)
		}),
	})
	runTransitions(t, all)
}

func TestFail(t *testing.T) {
	rejectedTimes := func(s podState, n int) podReport {
		return in(s).but(func(p *podReport) { p.rejections = n })
	}
	pausing := func(p podReport, resumeIn podState, pause time.Duration) podReport {
		return p.but(func(p *podReport) {
			p.state, p.resumeIn, p.notBefore = backingOff, resumeIn, at(time.Minute+pause)
			p.rejections++
		})
	}
	notFoundIn := func(s podState) podReport {
		return in(s).but(func(p *podReport) { p.state, p.lastReported.NotFound = gone, true })
	}
	rejection := func(s podState, before int, chance float64, pause time.Duration) transition {
		from := rejectedTimes(s, before)
		return transition{from: from, in: failed{rejected, chance}, want: pausing(from, s, pause), do: action{wait: pause}}
	}
	all := []transition{
		{from: in(waitingForMultus), in: failed{unavailable, 0.5}, want: in(waitingForMultus)},
		{from: in(dirty), in: failed{unavailable, 0.5}, want: in(dirty)},
		{from: in(waitingForMultus), in: failed{notFound, 0.5}, want: notFoundIn(waitingForMultus), do: action{save: true}},
		{from: in(dirty), in: failed{notFound, 0.5}, want: notFoundIn(dirty), do: action{save: true}},
		rejection(waitingForMultus, 0, 0.5, time.Second),
		rejection(dirty, 0, 0.5, time.Second),
		rejection(dirty, 0, 0, 500*time.Millisecond),
		rejection(dirty, 0, 1, 1500*time.Millisecond),
		rejection(dirty, 2, 0.5, 4*time.Second),
		rejection(dirty, 50, 0.5, 5*time.Minute),
	}
	for i := range all {
		all[i].name, all[i].at = string(all[i].from.state)+", "+string(all[i].in.(failed).class), time.Minute
	}
	runTransitions(t, all)
}
