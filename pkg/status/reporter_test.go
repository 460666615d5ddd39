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
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(stop)
	return r, stop
}

// pass lets virtual time go by, and what is due in it happen.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func wantCalls(t *testing.T, s *server, looks, patches int) {
	t.Helper()
	if l, p := s.count(); l != looks || p != patches {
		t.Fatalf("%d looks and %d patches, want %d and %d", l, p, looks, patches)
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

// A bond's life: one look and one patch at the start, one patch a change, nothing in between
// and nothing at the end.
func TestLifeOfABond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		dir := t.TempDir()
		r, _ := start(t, s, status.Config{Dir: dir})
		p := podN(1)
		s.add(p)
		b := bondOf(p, "bond0")
		r.Report(b)
		pass(5 * time.Second)
		wantCalls(t, s, 1, 1)
		first := s.pod(p)
		wantCondition(t, first, corev1.ConditionTrue, "AllReady")
		if list := s.told(p); len(list) != 1 || list[0].Interface != "bond0" || list[0].State != v1.Ready || len(list[0].Members) != 2 {
			t.Errorf("told: %+v", list)
		}
		for range 100 { // the agent looks at every bond again and again
			r.Report(bondOf(p, "bond0"))
			pass(45 * time.Second)
		}
		wantCalls(t, s, 0, 0)
		b = lose(b)
		r.Report(b)
		synctest.Wait() // at once: no time has passed
		wantCalls(t, s, 0, 1)
		wantCondition(t, s.pod(p), corev1.ConditionTrue, "Degraded")
		b = mend(b)
		r.Report(b)
		pass(5 * time.Second)
		wantCalls(t, s, 0, 1)
		last := s.pod(p)
		wantCondition(t, last, corev1.ConditionTrue, "AllReady")
		if a, b := condition(t, first).LastTransitionTime, condition(t, last).LastTransitionTime; !a.Equal(&b) {
			t.Errorf("the condition was True all the time and its time went from %s to %s", a, b)
		}
		if got, want := s.reasons(), []string{status.EventDegraded, status.EventRepaired}; !slices.Equal(got, want) {
			t.Errorf("events %q, want %q", got, want)
		}
		r.Forget(b.Key)
		pass(time.Minute)
		wantCalls(t, s, 0, 0)
		if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
			t.Errorf("left in the directory: %v %v", files, err)
		}
		if got := last.Annotations[status.NetworkStatus]; got != "[]" {
			t.Errorf("Multus's annotation is now %q", got)
		}
	})
}

// The condition's time is when its status changed, to the second.
func TestTransitionTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		r, _ := start(t, s, status.Config{Dir: t.TempDir()})
		p := podN(1)
		s.add(p)
		b := bondOf(p, "bond0")
		r.Report(b)
		for _, b := range []bond.Status{down(b), mend(b), down(b)} {
			pass(10 * time.Minute)
			r.Report(b)
			synctest.Wait()
			if at := condition(t, s.pod(p)).LastTransitionTime; time.Since(at.Time) >= time.Second {
				t.Errorf("the bond is %s now, and the condition has its status since %s", b.State, time.Since(at.Time))
			}
		}
	})
}

func TestEventsSayWhoAndWhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		r, _ := start(t, s, status.Config{Dir: t.TempDir()})
		p := podN(1)
		s.add(p)
		b := bondOf(p, "bond0")
		tell := func(b bond.Status) {
			r.Report(b)
			pass(time.Minute)
		}
		tell(b)
		tell(lose(b))
		tell(down(b))
		stuck := lose(b)
		stuck.State, stuck.Reason = bond.StateStuck, "option miimon was changed"
		tell(stuck)
		tell(b) // well again, and nobody counted a repair
		repairing := lose(b)
		repairing.State = bond.StateRepairing
		tell(repairing)
		tell(mend(b)) // back from where it was before: one repair
		other := mend(b)
		other.MTU = 9000
		tell(other) // a change, and no repair
		tell(lose(b))
		tell(repairing)
		tell(lose(b)) // it did not help: nothing new
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
		if got, want := s.events[0].Message, "bond0 is Degraded: net1 (0000:01:10.0) is in neither the pod nor the host"; got != want {
			t.Errorf("message %q, want %q", got, want)
		}
		if got, want := s.events[4].Message, "bond0 recovered: net1 re-attached after MemberInHost, in 412ms (repair 1)"; got != want {
			t.Errorf("message %q, want %q", got, want)
		}
	})
}

// A pod that changes all the time is told ever more rarely, and always of the latest.
func TestMerging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		r, _ := start(t, s, status.Config{Dir: t.TempDir()})
		p := podN(1)
		s.add(p)
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
		if got := s.told(p)[0].Repairs; got != b.Repairs {
			t.Errorf("last told %d repairs, want %d", got, b.Repairs)
		}
		pass(2 * time.Minute) // quiet: the next change is told at once again, and the one after in a second
		for range 2 {
			b.Repairs++
			r.Report(b)
			pass(1100 * time.Millisecond)
		}
		wantCalls(t, s, 0, 2)
	})
}

// All requests of a node go through one bucket, and what waits in it is not told as it was when
// it began to wait.
func TestRateOfANode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		r, _ := start(t, s, status.Config{Dir: t.TempDir(), Rate: 2, Burst: 10})
		const pods = 100
		tell := func(repairs int) {
			for i := range pods {
				b := bondOf(podN(i), "bond0")
				b.Repairs = repairs
				r.Report(b)
			}
		}
		for i := range pods {
			s.add(podN(i))
		}
		tell(0)
		pass(10 * time.Minute)
		wantCalls(t, s, pods, pods)
		tell(1)
		pass(5 * time.Second)
		if _, n := s.count(); n < 18 || n > 21 {
			t.Errorf("%d patches in the first five seconds, want 10 at once and 2 a second", n)
		}
		tell(2) // the others had not been told of 1 yet, and never will be
		pass(10 * time.Minute)
		if _, n := s.count(); n > pods+4 {
			t.Errorf("%d more patches for %d pods", n, pods)
		}
		for i := range pods {
			if got := s.told(podN(i))[0].Repairs; got != 2 {
				t.Fatalf("pod %d was last told of %d repairs", i, got)
			}
		}
	})
}

// Multus writes last of all; before that the pod is only looked at.
func TestWaitsForMultus(t *testing.T) {
	for _, tc := range []struct {
		name           string
		after          time.Duration // when Multus writes; 0 is never
		looks, patches int
		by             time.Duration
	}{
		{"at once", time.Millisecond, 1, 1, time.Second},
		{"later", 5 * time.Second, 3, 1, 7 * time.Second},
		{"never", 0, 6, 1, 30 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t)
				r, _ := start(t, s, status.Config{Dir: t.TempDir()})
				p := podN(1)
				s.add(p)
				s.edit(p, func(p *corev1.Pod) { p.Annotations = nil })
				begin := time.Now()
				r.Report(bondOf(p, "bond0"))
				if tc.after > 0 {
					pass(tc.after)
					if len(s.told(p)) > 0 {
						t.Error("told before Multus has written")
					}
					s.edit(p, func(p *corev1.Pod) { p.Annotations = map[string]string{status.NetworkStatus: "[1]"} })
				}
				pass(time.Minute)
				log := s.log()
				wantCalls(t, s, tc.looks, tc.patches)
				if at := log[len(log)-1].at.Sub(begin); at.Round(time.Second) != tc.by {
					t.Errorf("told after %s, want %s", at, tc.by)
				}
				if tc.after > 0 && s.pod(p).Annotations[status.NetworkStatus] != "[1]" {
					t.Error("Multus's annotation was changed")
				}
			})
		})
	}
}

// An agent that restarts sends nothing, not even a look, whatever order it hears of the bonds
// in; and one that lost its files looks once and sends nothing either.
// A bond that was deleted while no agent ran is not waited for for ever.
// A file that is damaged, or of another pod, is as good as none.
// The reporter's directory may stand among the records: they are listed as before, and who watches
// their directory takes its name for none of theirs.
// A pod that is not there, or is another one of the same name, is asked for once, and not
// again by an agent that restarts.
// Bonds whose pod is not known, or has a name that no pod has, are not told of.
// One of two bonds is taken away: the list is rewritten, but not at once, for at a pod's end
// the other one goes next.
// The sandbox of a pod was made anew and the old one has not been released: the pod's bond is
// the new one, in whatever order they are told of.
// refuse answers every request about a pod with code.
func refuse(code int, reason metav1.StatusReason) func(*http.Request) (*http.Response, error) {
	return func(q *http.Request) (*http.Response, error) {
		return reply(q, code, failure(int32(code), reason)), nil
	}
}
