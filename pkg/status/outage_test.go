package status_test

import (
	"errors"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/status"
	v1 "github.com/bondkeeper/bondkeeper/pkg/status/v1"
)

var errNoRoute = errors.New("no route to host")

// outages are the ways in which an API server can be unavailable.
var outages = map[string]func(*http.Request) (*http.Response, error){
	"no connection": func(*http.Request) (*http.Response, error) { return nil, errNoRoute },
	"hangs": func(q *http.Request) (*http.Response, error) {
		<-q.Context().Done()
		return nil, q.Context().Err()
	},
	"overloaded":          rejectWith(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable),
	"throttles":           throttle("5"),
	"token expired":       rejectWith(http.StatusUnauthorized, metav1.StatusReasonUnauthorized),
	"internal error":      rejectWith(http.StatusInternalServerError, metav1.StatusReasonInternalError),
	"response of a proxy": func(q *http.Request) (*http.Response, error) { return text(q, http.StatusNotFound, "<html>"), nil },
}

// throttle rejects a request as the API server's priority and fairness filter does.
func throttle(seconds string) func(*http.Request) (*http.Response, error) {
	return func(q *http.Request) (*http.Response, error) {
		response := text(q, http.StatusTooManyRequests, "Too many requests, please try again later.\n")
		response.Header.Set("Retry-After", seconds)
		return response, nil
	}
}

// text returns a response that is not an object of the API.
func text(q *http.Request, code int, body string) *http.Response {
	response := reply(q, code, body)
	response.Header.Set("Content-Type", "text/plain; charset=utf-8")
	return response
}

// TestUnavailable: the API server is unavailable for an hour. Meanwhile the node sends one request per minute, and
// Report does not wait. Afterwards there is one patch per pod, with the last state.
func TestUnavailable(t *testing.T) {
	for name, way := range outages {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t)
				r, _ := start(t, s, status.Config{Dir: t.TempDir()})
				const pods = 30
				bonds := make([]bond.Status, pods)
				for i := range bonds {
					s.add(podN(i))
					bonds[i] = bondOf(podN(i), "bond0")
					r.Report(bonds[i])
				}
				pass(5 * time.Minute)
				wantCalls(t, s, pods, pods)
				s.fail(locked(s, way))
				begin := time.Now()
				for time.Since(begin) < time.Hour {
					for i := range bonds {
						bonds[i] = repaired(lose(bonds[i]))
						before := time.Now()
						r.Report(bonds[i])
						if d := time.Since(before); d != 0 {
							t.Fatalf("Report took %s", d)
						}
					}
					pass(time.Minute)
				}
				tried := len(s.log())
				if _, n := s.count(); tried != n || tried < 30 || tried > 140 {
					t.Errorf("%d tries in an hour (%d patches)", tried, n)
				}
				if r.PendingPods() != pods {
					t.Errorf("%d pods pending, want %d", r.PendingPods(), pods)
				}
				s.fail(nil)
				pass(5 * time.Minute)
				patched := 0
				for _, c := range s.log() { // a request that hung when the API server came back has failed
					if c.ok {
						patched++
					}
				}
				if patched != pods {
					t.Errorf("%d patches for %d pods when it was available again", patched, pods)
				}
				for i := range bonds {
					if got := s.reported(podN(i))[0].Repairs; got != bonds[i].Repairs {
						t.Errorf("pod %d has %d repairs, want %d", i, got, bonds[i].Repairs)
					}
				}
				if r.PendingPods() != 0 {
					t.Errorf("%d pods pending", r.PendingPods())
				}
			})
		})
	}
}

// locked lets a fault wait without the server's lock.
func locked(s *server, f func(*http.Request) (*http.Response, error)) func(*http.Request) (*http.Response, error) {
	return func(q *http.Request) (*http.Response, error) {
		s.mu.Unlock()
		defer s.mu.Lock()
		return f(q)
	}
}

// TestNodesReturnSpread: nodes that lost the API server together do not come back together.
func TestNodesReturnSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		s.fail(outages["no connection"])
		const nodes = 60
		for i := range nodes {
			s.add(podN(i))
			r, _ := start(t, s, status.Config{Dir: t.TempDir()})
			r.Report(bondOf(podN(i), "bond0"))
		}
		pass(30 * time.Minute)
		s.fail(nil)
		s.count()
		back := time.Now()
		pass(2 * time.Minute)
		var first []time.Duration
		seen := map[string]bool{}
		for _, c := range s.log() {
			if !seen[c.pod] {
				seen[c.pod] = true
				first = append(first, c.at.Sub(back))
			}
		}
		slices.Sort(first)
		if len(first) != nodes {
			t.Fatalf("%d of %d nodes are back", len(first), nodes)
		}
		if last := first[nodes-1]; last > 90*time.Second {
			t.Errorf("the last node came back after %s", last)
		}
		for i := range nodes - 15 {
			if first[i+15]-first[i] < time.Second {
				t.Errorf("16 of %d nodes came back within a second: %v", nodes, first[i:i+16])
			}
		}
	})
}

// TestRetryAfter: no node sends a request before the API server's Retry-After is over, and not all of them at once
// after it.
func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		s.fail(throttle("40"))
		at := map[time.Duration]bool{}
		begin := time.Now()
		const nodes = 20
		for i := range nodes {
			r, _ := start(t, s, status.Config{Dir: t.TempDir()})
			r.Report(bondOf(podN(i), "bond0"))
		}
		pass(5 * time.Second)
		s.count()
		s.fail(nil)
		pass(2 * time.Minute)
		for _, c := range s.log() {
			d := c.at.Sub(begin)
			if d < 41*time.Second {
				t.Errorf("a request after %s, want 40 s after the first at least", d)
			}
			at[d.Round(time.Second)] = true
		}
		if len(at) < nodes/3 {
			t.Errorf("%d nodes came back in %d different seconds", nodes, len(at))
		}
	})
}

// TestRejectedPod: the API server rejects the patches of one pod. The others are reported; the pauses between attempts
// for that one grow.
func TestRejectedPod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		r, _ := start(t, s, status.Config{Dir: t.TempDir()})
		bad, good := podN(1), podN(2)
		s.add(bad)
		s.add(good)
		forbid := rejectWith(http.StatusForbidden, metav1.StatusReasonForbidden)
		s.fail(func(q *http.Request) (*http.Response, error) {
			if q.URL.Path == "/api/v1/namespaces/demo/pods/p1/status" {
				return forbid(q)
			}
			return nil, nil
		})
		r.Report(bondOf(bad, "bond0"))
		r.Report(bondOf(good, "bond0"))
		pass(time.Hour)
		tries := 0
		for _, c := range s.log() {
			if c.pod == bad.String() {
				tries++
			}
		}
		if tries < 10 || tries > 40 {
			t.Errorf("%d tries in an hour", tries)
		}
		if len(s.reported(good)) != 1 {
			t.Error("the other pod was not reported")
		}
		s.fail(nil)
		pass(10 * time.Minute)
		if len(s.reported(bad)) != 1 {
			t.Error("not reported when it was allowed")
		}
	})
}

// TestSlow: with a slow API server a hanging request delays no other pod, and each pod is patched once.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		s.delay = 8 * time.Second
		r, _ := start(t, s, status.Config{Dir: t.TempDir()})
		const pods = 12
		for i := range pods {
			s.add(podN(i))
			r.Report(bondOf(podN(i), "bond0"))
		}
		pass(2 * pods * 8 / 4 * time.Second)
		pass(10 * time.Second)
		wantCalls(t, s, pods, pods)
	})
}

// TestEditedByHand: another client changed annotation and condition. The next patch writes all of it again.
func TestEditedByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r, p := onePod(t, t.TempDir())
		b := bondOf(p, "bond0")
		r.Report(b)
		pass(time.Minute)
		s.edit(p, func(p *corev1.Pod) {
			p.Annotations[v1.Annotation] = "all is well"
			p.Annotations["other"] = "stays"
			p.Status.Conditions = nil
		})
		pass(time.Hour)
		s.count()
		r.Report(lose(b))
		pass(time.Minute)
		wantCalls(t, s, 0, 1)
		if list := s.reported(p); len(list) != 1 || list[0].State != v1.Degraded {
			t.Errorf("reported %+v", list)
		}
		wantCondition(t, s.pod(p), corev1.ConditionTrue, "Degraded")
		if s.pod(p).Annotations["other"] != "stays" {
			t.Error("the annotation of another client was changed")
		}
	})
}

// TestTwoAgents: two agents of one node, as in a rolling update that went wrong. Both report the same, and the last
// state remains.
func TestTwoAgents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		dir := t.TempDir()
		a, _ := start(t, s, status.Config{Dir: dir})
		b, _ := start(t, s, status.Config{Dir: dir})
		p := podN(1)
		s.add(p)
		st := bondOf(p, "bond0")
		for range 10 {
			a.Report(st)
			b.Report(st)
			pass(time.Minute)
			st = repaired(st)
		}
		s.count()
		pass(time.Hour)
		wantCalls(t, s, 0, 0)
		if list := s.reported(p); len(list) != 1 || list[0].Repairs != 9 {
			t.Errorf("reported %+v", list)
		}
	})
}
