package agent

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/watch"
)

// stallLimit is longer than any piece of work takes, and than three of the resync's own periods.
const stallLimit = 3 * time.Minute

// Health serves probes and metrics. Before Started is called the agent is alive and not ready: it waits for the lock of
// another agent.
type Health struct {
	handler   atomic.Pointer[http.Handler]
	listeners listeners
}

// NewHealth returns the Health of an agent that is starting.
func NewHealth() *Health {
	h := new(Health)
	h.set(h.newHandler(nil, notRunning, nil))
	return h
}

// notRunning is why an agent is not ready before Started is called.
var notRunning = []probe{{"agent", func() error {
	return errors.New("this agent is not running yet: it is starting, or waits for the lock of another agent")
}}}

// Starting is called when the agent has the lock. If Started does not follow, a restart may help.
func (h *Health) Starting() {
	since := time.Now()
	h.set(h.newHandler([]probe{{"starting", func() error {
		if d := time.Since(since); d > stallLimit {
			return fmt.Errorf("the start has not ended after %s", d.Round(time.Second))
		}
		return nil
	}}}, notRunning, nil))
}

func (h *Health) set(handler http.Handler) { h.handler.Store(&handler) }

// ServeHTTP implements http.Handler.
func (h *Health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	(*h.handler.Load()).ServeHTTP(w, r)
}

// Monitor is what health and metrics need of the monitor of events.
type Monitor interface{ Stats() watch.Stats }

// Worker is what health and metrics need of the controller.
type Worker interface {
	Finished() uint64
	Busy() bool
	FailedReleases() int
}

// Started makes health that of the monitor and the worker. If the records cannot be listed the agent is not ready: a
// restart would not help.
func (h *Health) Started(monitor Monitor, worker Worker, resync time.Duration, metrics http.Handler) {
	resyncs := func() uint64 { return monitor.Stats().Resyncs }
	live := []probe{
		{"watching", stalled(max(stallLimit, 3*resync), resyncs, func() bool { return true })},
		{"converging", stalled(stallLimit, worker.Finished, worker.Busy)},
	}
	ready := []probe{{"watching", func() error {
		if monitor.Stats().Relists == 0 {
			return errors.New("the records have not been listed yet")
		}
		return nil
	}}}
	h.set(h.newHandler(live, ready, metrics))
}

// probe is one thing that must hold. Its check returns what is wrong, or nil. It is called by several goroutines and
// must not block.
type probe struct {
	name  string
	check func() error
}

// newHandler serves /healthz (live: a restart would help if one fails), /readyz (ready: bonds are repaired), /listenz
// (the addresses are served) and /metrics. All but the last return 200 and "ok", or 503 and one line per failed probe.
// metrics may be nil.
func (h *Health) newHandler(live, ready []probe, metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /listenz", probeHandler([]probe{{"listen", h.listeners.err}}))
	mux.Handle("GET /healthz", probeHandler(live))
	mux.Handle("GET /readyz", probeHandler(ready))
	if metrics != nil {
		mux.Handle("GET /metrics", metrics)
	}
	return mux
}

func probeHandler(probes []probe) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		var wrong strings.Builder
		for _, p := range probes {
			if err := p.check(); err != nil {
				fmt.Fprintf(&wrong, "%s: %v\n", p.name, err)
			}
		}
		if wrong.Len() > 0 {
			http.Error(w, wrong.String(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	}
}

// stalled returns a check that fails if no piece of work was finished for longer than limit although some was pending
// at every call. done counts the finished pieces. The check compares only when it is called; a kubelet calls it every
// few seconds.
func stalled(limit time.Duration, done func() uint64, pending func() bool) func() error {
	var mu sync.Mutex
	count, since := done(), time.Now()
	return func() error {
		mu.Lock()
		defer mu.Unlock()
		now := done()
		if now != count || !pending() {
			count, since = now, time.Now()
			return nil
		}
		if idle := time.Since(since); idle > limit {
			return fmt.Errorf("nothing was finished for %s", idle.Round(time.Second))
		}
		return nil
	}
}
