package status_test

import (
	"context"
	"net/http"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/status"
	v1 "github.com/bondkeeper/bondkeeper/pkg/status/v1"
)

// start runs a reporter of node-a until the test ends or stop is called.
func start(t *testing.T, s *server, c status.Config) (r *status.Reporter, stop func()) {
	t.Helper()
	c.API, c.Node = s.config(), "node-a"
	return run(t, c)
}

// onePod starts a server with one pod, and a reporter with its checkpoints in dir.
func onePod(t *testing.T, dir string) (*server, *status.Reporter, bond.Pod) {
	t.Helper()
	s, p := newServer(t), podN(1)
	r, _ := start(t, s, status.Config{Dir: dir})
	s.add(p)
	return s, r, p
}

func run(t testing.TB, c status.Config) (r *status.Reporter, stop func()) {
	t.Helper()
	if c.Log == nil {
		c.Log = zaptest.NewLogger(t, zaptest.Level(zap.ErrorLevel))
	}
	r, err := status.NewReporter(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			<-done
		}
	}
	t.Cleanup(stop)
	return r, stop
}

// pass waits in virtual time, and until everything that is due has happened.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func wantCalls(t *testing.T, s *server, checks, patches int) {
	t.Helper()
	if l, p := s.count(); l != checks || p != patches {
		t.Fatalf("%d checks and %d patches, want %d and %d", l, p, checks, patches)
	}
}

func condition(t *testing.T, p *corev1.Pod) corev1.PodCondition {
	t.Helper()
	for _, c := range p.Status.Conditions {
		if c.Type == v1.Condition {
			return c
		}
	}
	t.Fatalf("no condition %s on %v", v1.Condition, p.Status)
	return corev1.PodCondition{}
}

func wantCondition(t *testing.T, p *corev1.Pod, status corev1.ConditionStatus, reason string) {
	t.Helper()
	if c := condition(t, p); c.Status != status || c.Reason != reason || c.Message == "" {
		t.Errorf("condition %+v, want %s, reason %s, and a message", c, status, reason)
	}
}

// TestLifeOfABond: one check and one patch at the start, one patch per change, and nothing in between or at the end.
func TestLifeOfABond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, r, p := onePod(t, dir)
		b := bondOf(p, "bond0")
		r.Report(b)
		pass(5 * time.Second)
		wantCalls(t, s, 1, 1)
		first := s.pod(p)
		wantCondition(t, first, corev1.ConditionTrue, "AllReady")
		if list := s.reported(p); len(list) != 1 || list[0].Interface != "bond0" || list[0].State != v1.Ready || len(list[0].Members) != 2 {
			t.Errorf("reported: %+v", list)
		}
		for range 100 { // the agent reconciles every bond again and again
			r.Report(bondOf(p, "bond0"))
			pass(45 * time.Second)
		}
		wantCalls(t, s, 0, 0)
		b = lose(b)
		r.Report(b)
		synctest.Wait() // without any wait
		wantCalls(t, s, 0, 1)
		wantCondition(t, s.pod(p), corev1.ConditionTrue, "Degraded")
		b = repaired(b)
		r.Report(b)
		pass(5 * time.Second)
		wantCalls(t, s, 0, 1)
		last := s.pod(p)
		wantCondition(t, last, corev1.ConditionTrue, "AllReady")
		if a, b := condition(t, first).LastTransitionTime, condition(t, last).LastTransitionTime; !a.Equal(&b) {
			t.Errorf("the condition stayed True, but its time changed from %s to %s", a, b)
		}
		if got, want := s.reasons(), []string{status.EventDegraded, status.EventRepaired}; !slices.Equal(got, want) {
			t.Errorf("events %q, want %q", got, want)
		}
		r.Forget(b.Key)
		pass(time.Minute)
		wantCalls(t, s, 0, 0)
		if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
			t.Errorf("files left: %v %v", files, err)
		}
		if got := last.Annotations[status.NetworkStatus]; got != "[]" {
			t.Errorf("Multus's annotation is now %q", got)
		}
	})
}

// TestTransitionTime: the condition's time is when its status changed, to the second.
func TestTransitionTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r, p := onePod(t, t.TempDir())
		b := bondOf(p, "bond0")
		r.Report(b)
		for _, b := range []bond.Status{down(b), repaired(b), down(b)} {
			pass(10 * time.Minute)
			r.Report(b)
			synctest.Wait()
			if at := condition(t, s.pod(p)).LastTransitionTime; time.Since(at.Time) >= time.Second {
				t.Errorf("the bond is %s now, and the condition has its status since %s", b.State, time.Since(at.Time))
			}
		}
	})
}

func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r, p := onePod(t, t.TempDir())
		b := bondOf(p, "bond0")
		report := func(b bond.Status) {
			r.Report(b)
			pass(time.Minute)
		}
		report(b)
		report(lose(b))
		report(down(b))
		stuck := lose(b)
		stuck.State, stuck.Reason = bond.StateStuck, "option miimon was changed"
		report(stuck)
		report(b) // Ready again, without a repair
		repairing := lose(b)
		repairing.State = bond.StateRepairing
		report(repairing)
		report(repaired(b)) // the state before the repair counts: one event
		other := repaired(b)
		other.MTU = 9000
		report(other) // a change without a repair
		report(lose(b))
		report(repairing)
		report(lose(b)) // the repair failed: no event
		want := []string{status.EventDegraded, status.EventDown, status.EventStuck, status.EventReady, status.EventRepaired, status.EventDegraded}
		if got := s.reasons(); !slices.Equal(got, want) {
			t.Fatalf("events %q, want %q", got, want)
		}
		for i, e := range s.events {
			level := corev1.EventTypeWarning
			if i == 3 || i == 4 {
				level = corev1.EventTypeNormal
			}
			if e.Type != level || e.Source.Component != "bondkeeper" || e.Source.Host != "node-a" || e.InvolvedObject.Kind != "Pod" ||
				string(e.InvolvedObject.UID) != p.UID || e.InvolvedObject.Name != p.Name || e.Namespace != p.Namespace {
				t.Errorf("event %+v", e)
			}
		}
		if got, want := s.events[0].Message, "bond0 is Degraded: net1 (0000:01:10.0) is in neither the pod nor the host (loss mfrwe2lt)"; got != want {
			t.Errorf("message %q, want %q", got, want)
		}
		if got, want := s.events[4].Message, "bond0 recovered: net1 re-attached after MemberInHost, in 412ms (repair 1) (loss mfrwe2lt)"; got != want {
			t.Errorf("message %q, want %q", got, want)
		}
	})
}

// TestMerging: the more often a pod changes, the rarer its patches are; each has the latest state.
func TestMerging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r, p := onePod(t, t.TempDir())
		b := bondOf(p, "bond0")
		r.Report(b)
		pass(2 * time.Minute)
		s.count()
		begin := time.Now()
		const storm = 5 * time.Minute
		for time.Since(begin) < storm { // a member flaps ten times a second
			b.Repairs++
			r.Report(b)
			pass(100 * time.Millisecond)
		}
		var at []time.Duration
		for _, c := range s.log() {
			at = append(at, c.at.Sub(begin).Round(100*time.Millisecond))
		}
		s.count()
		// At once, after 1 s, then 2, 4, 8, 16, 30, and every 30 s.
		want := []time.Duration{0, 1, 3, 7, 15, 31, 61, 91, 121, 151, 181, 211, 241, 271}
		for i := range want {
			want[i] *= time.Second
		}
		if !slices.Equal(at, want) {
			t.Errorf("patches at %v, want %v", at, want)
		}
		pass(time.Minute)
		wantCalls(t, s, 0, 1)
		if got := s.reported(p)[0].Repairs; got != b.Repairs {
			t.Errorf("last reported %d repairs, want %d", got, b.Repairs)
		}
		pass(2 * time.Minute) // without changes: the next one is reported at once again, and the one after that in a second
		for range 2 {
			b.Repairs++
			r.Report(b)
			pass(1100 * time.Millisecond)
		}
		wantCalls(t, s, 0, 2)
	})
}

// TestRateOfANode: all requests of a node share one token bucket. A request that waited has the latest state.
func TestRateOfANode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		r, _ := start(t, s, status.Config{Dir: t.TempDir(), Rate: 2, Burst: 10})
		const pods = 100
		report := func(repairs int) {
			for i := range pods {
				b := bondOf(podN(i), "bond0")
				b.Repairs = repairs
				r.Report(b)
			}
		}
		for i := range pods {
			s.add(podN(i))
		}
		report(0)
		pass(10 * time.Minute)
		wantCalls(t, s, pods, pods)
		report(1)
		pass(5 * time.Second)
		if _, n := s.count(); n < 18 || n > 21 {
			t.Errorf("%d patches in the first five seconds, want 10 at once and 2 per second", n)
		}
		report(2) // 1 was not reported for the others yet, and is not any more
		pass(10 * time.Minute)
		if _, n := s.count(); n > pods+4 {
			t.Errorf("%d more patches for %d pods", n, pods)
		}
		for i := range pods {
			if got := s.reported(podN(i))[0].Repairs; got != 2 {
				t.Fatalf("pod %d has %d repairs", i, got)
			}
		}
	})
}

// TestWaitsForMultus: Multus writes last; before that the pod is only checked.
func TestWaitsForMultus(t *testing.T) {
	for _, tc := range []struct {
		name            string
		after           time.Duration // when Multus writes; 0 means never
		checks, patches int
		by              time.Duration
	}{
		{"at once", time.Millisecond, 1, 1, time.Second},
		{"later", 5 * time.Second, 3, 1, 7 * time.Second},
		{"never", 0, 6, 1, 30 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, r, p := onePod(t, t.TempDir())
				s.edit(p, func(p *corev1.Pod) { p.Annotations = nil })
				begin := time.Now()
				r.Report(bondOf(p, "bond0"))
				if tc.after > 0 {
					pass(tc.after)
					if len(s.reported(p)) > 0 {
						t.Error("reported before Multus has written")
					}
					s.edit(p, func(p *corev1.Pod) { p.Annotations = map[string]string{status.NetworkStatus: "[1]"} })
				}
				pass(time.Minute)
				log := s.log()
				wantCalls(t, s, tc.checks, tc.patches)
				if at := log[len(log)-1].at.Sub(begin); at.Round(time.Second) != tc.by {
					t.Errorf("reported after %s, want %s", at, tc.by)
				}
				if tc.after > 0 && s.pod(p).Annotations[status.NetworkStatus] != "[1]" {
					t.Error("Multus's annotation was changed")
				}
			})
		})
	}
}

// rejectWith returns a response with code to each request about a pod.
func rejectWith(code int, reason metav1.StatusReason) func(*http.Request) (*http.Response, error) {
	return func(q *http.Request) (*http.Response, error) {
		return reply(q, code, failure(int32(code), reason)), nil
	}
}
