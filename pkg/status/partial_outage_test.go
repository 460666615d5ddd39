package status_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/status"
)

// TestFailingWebhook: a webhook for the pods of one namespace cannot be called, which is a 500. The other pods of the
// node are reported all the same, at once, and the pauses for those pods grow.
func TestFailingWebhook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		r, _ := start(t, s, status.Config{Dir: t.TempDir()})
		s.fail(func(q *http.Request) (*http.Response, error) {
			if strings.Contains(q.URL.Path, "/pods/p0/") || !strings.Contains(q.URL.Path, "/pods/") {
				return nil, nil
			}
			f := failure(http.StatusInternalServerError, metav1.StatusReasonInternalError)
			f.Message = `Internal error occurred: failed calling webhook "pods.example.com": failed to call webhook: connection refused`
			return reply(q, http.StatusInternalServerError, f), nil
		})
		for i := range 21 {
			s.add(podN(i))
			r.Report(bondOf(podN(i), "bond0"))
		}
		pass(10 * time.Minute)
		wantRepairsReported(t, s, r, bondOf(podN(0), "bond0"), 10, 10*time.Second, 5*time.Minute)
		s.count()
		pass(time.Hour)
		if checks, patches := s.count(); checks+patches > 20*20 {
			t.Errorf("%d requests about 20 pods in an hour", checks+patches)
		}
	})
}

// TestHangingWebhook: a webhook for the pods of one namespace hangs longer than the reporter's timeout, while the API
// server responds to everything else. Other pods wait for the senders that hang at first, and hardly afterwards.
func TestHangingWebhook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		r, _ := start(t, s, status.Config{Dir: t.TempDir()})
		s.fail(locked(s, func(q *http.Request) (*http.Response, error) {
			if strings.Contains(q.URL.Path, "/pods/p0/") || !strings.Contains(q.URL.Path, "/pods/") {
				return nil, nil
			}
			<-q.Context().Done()
			return nil, q.Context().Err()
		}))
		const hanging = 40
		for i := range hanging {
			s.add(podN(i + 1))
			r.Report(bondOf(podN(i+1), "bond0"))
		}
		s.add(podN(0))
		other := bondOf(podN(0), "bond0")
		r.Report(other)
		pass(hanging/4*16*time.Second + 30*time.Second)
		wantRepairsReported(t, s, r, other, 20, 5*time.Second, 2*time.Minute)
		s.fail(nil)
		pass(10 * time.Minute)
		for i := range hanging {
			if len(s.reported(podN(i+1))) != 1 {
				t.Errorf("pod %d is not reported when the webhook responds", i+1)
			}
		}
	})
}

// wantRepairsReported repairs the bond of pod 0 a number of times. Each repair must be on the pod soon; a pause follows.
func wantRepairsReported(t *testing.T, s *server, r *status.Reporter, b bond.Status, times int, soon, pause time.Duration) {
	t.Helper()
	for range times {
		b = repaired(lose(b))
		r.Report(b)
		pass(soon)
		if got := s.reported(podN(0)); len(got) == 0 || got[0].Repairs != b.Repairs {
			t.Fatalf("repair %d is not reported: %+v", b.Repairs, got)
		}
		pass(pause)
	}
}
