package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	metricsAddress = "127.0.0.1:9470"
	startTimeout   = time.Minute
)

// agent is a running agent.
type agent struct {
	cmd *exec.Cmd
	log agentLog
	// began is when it was started.
	began time.Time
	stop  func()
}

// agentLog is an agent's log. It is safe for concurrent use.
type agentLog struct {
	mu   sync.Mutex
	text bytes.Buffer
	// ready counts the reports that a bond is Ready; the last one came at lastReady.
	ready     int
	lastReady time.Time
}

func (l *agentLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := bytes.Count(p, []byte(`"state":"Ready"`)); n > 0 {
		l.ready, l.lastReady = l.ready+n, time.Now()
	}
	return l.text.Write(p)
}

func (l *agentLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *agentLog) bondsReady() (number int, last time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ready, l.lastReady
}

// startAgent starts an agent and waits until it is ready.
func startAgent(ctx context.Context, o *options, flags ...string) (*agent, error) {
	return startProgram(ctx, filepath.Join(o.bin, "agent"), flags...)
}

func startProgram(ctx context.Context, program string, flags ...string) (*agent, error) {
	a := &agent{began: time.Now()}
	a.cmd = exec.CommandContext(ctx, program, append([]string{ //nolint:gosec // the agent that is measured
		"run", "--kubeconfig", "none", "--runtime", "none", "--listen", metricsAddress, "--flap-window", "1ms", "--setup-quiet", "1ms",
	}, flags...)...)
	a.cmd.Stderr = &a.log
	if err := a.cmd.Start(); err != nil {
		return nil, err
	}
	a.stop = sync.OnceFunc(func() {
		_ = a.cmd.Process.Signal(syscall.SIGCONT)
		_ = a.cmd.Process.Signal(os.Interrupt)
		_ = a.cmd.Wait()
	})
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(startTimeout); ; {
		if response, err := http.Get("http://" + metricsAddress + "/readyz"); err == nil { //nolint:noctx // the loop is bounded
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return a, nil
			}
		}
		if time.Now().After(limit) {
			a.stop()
			return nil, fmt.Errorf("the agent is not ready after %s: %s", startTimeout, a.log.String())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// processorTime is what the agent has used so far.
func (a *agent) processorTime() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", a.cmd.Process.Pid))
	_, rest, found := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	const userTime, systemTime, perSecond = 11, 12, 100 // fields after the name; USER_HZ
	if err != nil || !found || len(fields) <= systemTime {
		return 0
	}
	var user, system int64
	_, _ = fmt.Sscan(fields[userTime], &user)
	_, _ = fmt.Sscan(fields[systemTime], &system)
	return time.Duration(user+system) * time.Second / perSecond
}

// metric returns the sum of all series of a metric whose line contains a text.
func (a *agent) metric(name, with string) (sum float64) {
	response, err := http.Get("http://" + metricsAddress + "/metrics") //nolint:noctx // a local process
	if err != nil {
		return 0
	}
	defer func() { _ = response.Body.Close() }()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		series, value, _ := strings.Cut(lines.Text(), " ")
		if base, _, _ := strings.Cut(series, "{"); base != name || !strings.Contains(series, with) {
			continue
		}
		var v float64
		_, _ = fmt.Sscan(value, &v)
		sum += v
	}
	return sum
}

// phases describes the repairs by the agent's own metrics.
func (a *agent) phases() string {
	mean := func(name, with string) string {
		count := a.metric(name+"_count", with)
		if count == 0 {
			return "no repair"
		}
		return millis(time.Duration(a.metric(name+"_sum", with) / count * float64(time.Second)))
	}
	return fmt.Sprintf("The agent's own metrics, means: from when a loss was found until its repair %s ms, of that absent %s ms, repair %s ms.",
		mean("bondkeeper_repair_duration_seconds", ""), mean("bondkeeper_repair_phase_duration_seconds", `phase="absent"`), mean("bondkeeper_repair_phase_duration_seconds", `phase="repair"`))
}
