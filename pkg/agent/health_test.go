package agent

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/watch"
)

func get(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

func TestProbes(t *testing.T) {
	var wrong error
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "bonds 3\n") })
	h := new(Health).newHandler(nil, []probe{{"records", func() error { return wrong }}, {"kernel", func() error { return nil }}}, metrics)
	if code, text := get(t, h, "/readyz"); code != http.StatusOK || text != "ok\n" {
		t.Errorf("no failure: %d %q", code, text)
	}
	wrong = errors.New("not listed yet")
	if code, text := get(t, h, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(text, "records: not listed yet") || strings.Contains(text, "kernel") {
		t.Errorf("one fails: %d %q", code, text)
	}
	if code, _ := get(t, h, "/healthz"); code != http.StatusOK {
		t.Errorf("an agent that is not ready is live: %d", code)
	}
	if code, text := get(t, h, "/metrics"); code != http.StatusOK || text != "bonds 3\n" {
		t.Errorf("metrics: %d %q", code, text)
	}
}

// TestStalled: pending work without progress fails the probe. Progress, or no pending work, does not.
func TestStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done, pending := uint64(0), true
		check := stalled(time.Minute, func() uint64 { return done }, func() bool { return pending })
		fails := func(want bool, after time.Duration, when string) {
			t.Helper()
			<-time.After(after)
			if err := check(); (err != nil) != want {
				t.Errorf("%s: %v", when, err)
			}
		}
		fails(false, 30*time.Second, "at the start")
		fails(true, 31*time.Second, "nothing was ever finished")
		done++
		fails(false, 10*time.Second, "something was finished")
		fails(false, time.Minute, "at the limit")
		fails(true, time.Second, "past the limit")
		pending = false
		fails(false, time.Hour, "nothing to do")
		pending = true
		fails(false, time.Minute, "something to do since the last time")
		fails(true, time.Second, "for too long")
	})
}

// fakeMonitor and fakeWorker have the progress that a test sets.
type fakeMonitor struct{ stats watch.Stats }

func (m *fakeMonitor) Stats() watch.Stats { return m.stats }

type fakeWorker struct {
	Worker
	finished uint64
	busy     bool
}

func (w *fakeWorker) Finished() uint64    { return w.finished }
func (w *fakeWorker) Busy() bool          { return w.busy }
func (w *fakeWorker) FailedReleases() int { return 0 }

// TestHealth: the agent is ready once it has listed the records. It is live until its start, resyncs or busy
// workers stall, however long it waits for the lock.
func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, monitor, worker := NewHealth(), &fakeMonitor{}, &fakeWorker{}
		want := func(path string, code int, text string) {
			t.Helper()
			if got, body := get(t, h, path); got != code || !strings.Contains(body, text) {
				t.Errorf("%s: %d %q, want %d %q", path, got, body, code, text)
			}
		}
		want("/healthz", http.StatusOK, "ok")
		want("/readyz", http.StatusServiceUnavailable, "agent: this agent is not running yet")
		<-time.After(time.Hour) // another agent has the lock
		want("/healthz", http.StatusOK, "ok")
		h.Starting()
		<-time.After(3 * time.Minute)
		want("/healthz", http.StatusOK, "ok")
		<-time.After(time.Second)
		want("/healthz", http.StatusServiceUnavailable, "starting: the start has not ended after 3m1s")
		want("/readyz", http.StatusServiceUnavailable, "agent: this agent is not running yet")
		h.Started(monitor, worker, 2*time.Minute, http.NotFoundHandler())
		want("/healthz", http.StatusOK, "ok")
		want("/readyz", http.StatusServiceUnavailable, "watching: the records have not been listed yet")
		want("/metrics", http.StatusNotFound, "")
		monitor.stats.Relists++
		want("/readyz", http.StatusOK, "ok")

		<-time.After(6 * time.Minute) // three resyncs
		want("/healthz", http.StatusOK, "ok")
		<-time.After(time.Second)
		want("/healthz", http.StatusServiceUnavailable, "watching: nothing was finished for 6m1s")
		monitor.stats.Resyncs++
		worker.busy = true
		want("/healthz", http.StatusOK, "ok")
		<-time.After(3 * time.Minute)
		want("/healthz", http.StatusOK, "ok")
		<-time.After(time.Second)
		want("/healthz", http.StatusServiceUnavailable, "converging: nothing was finished for 3m1s")
		worker.finished++
		want("/healthz", http.StatusOK, "ok")
	})
}
