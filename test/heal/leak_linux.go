package heal

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// metricsURL is where an agent without --listen serves its metrics.
const metricsURL = "http://127.0.0.1:9719/metrics"

// resources are the open file descriptors (sockets included), sockets and goroutines of a process.
type resources struct{ descriptors, sockets, goroutines int }

// within reports whether r has no more of anything than limit.
func (r resources) within(limit resources) bool {
	return r.descriptors <= limit.descriptors && r.sockets <= limit.sockets && r.goroutines <= limit.goroutines
}

// resources counts what the agent has open now. During a reconcile that is more than between two.
func (a *agent) resources(ctx context.Context) (r resources, err error) {
	dir := fmt.Sprintf("/proc/%d/fd", a.cmd.Process.Pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return r, err
	}
	for _, e := range entries {
		r.descriptors++
		if target, gone := os.Readlink(filepath.Join(dir, e.Name())); gone == nil && strings.HasPrefix(target, "socket:") {
			r.sockets++
		}
	}
	r.goroutines, err = goroutines(ctx)
	return r, err
}

// goroutines reads the agent's metrics.
func goroutines(ctx context.Context) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, metricsURL, nil)
	if err != nil {
		return 0, err
	}
	req.Close = true // an open connection would count
	output, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("the agent's metrics: %w", err)
	}
	defer func() { _ = output.Body.Close() }()
	for lines := bufio.NewScanner(output.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "go_goroutines "); ok {
			return strconv.Atoi(value)
		}
	}
	return 0, fmt.Errorf("%s has no go_goroutines", metricsURL)
}

// leakSamples is the number of counts of which the least is taken, with pauses of sampleEach.
const (
	leakSamples = 5
	sampleEach  = 100 * time.Millisecond
)

// least is the minimum of several counts, which is what the agent has open between two reconciles.
func (a *agent) least(ctx context.Context) (least resources, err error) {
	ticks := time.NewTicker(sampleEach)
	defer ticks.Stop()
	for i := range leakSamples {
		now, err := a.resources(ctx)
		if err != nil {
			return least, err
		}
		if i == 0 || now.within(least) {
			least = now
		}
		<-ticks.C
	}
	return least, nil
}

// rest is what the agent has open once it has started completely: two counts that agree. On a slow machine it reconciles
// before all its goroutines run.
func (a *agent) rest(ctx context.Context) (resources, error) {
	last, err := a.least(ctx)
	for err == nil {
		var now resources
		if now, err = a.least(ctx); now == last {
			break
		}
		last = now
	}
	return last, err
}

// leaks returns nil as soon as the agent has no more open than at its start.
func (a *agent) leaks(ctx context.Context) error {
	if a.atStart == (resources{}) {
		return nil
	}
	ticks := time.NewTicker(sampleEach)
	defer ticks.Stop()
	var last resources
	for {
		now, err := a.resources(ctx)
		if ctx.Err() != nil {
			return fmt.Errorf("the agent has more files or goroutines open than at its start: %+v, then %+v", last, a.atStart)
		}
		if err != nil || now.within(a.atStart) {
			return err
		}
		last = now
		select {
		case <-ticks.C:
		case <-ctx.Done():
		}
	}
}
