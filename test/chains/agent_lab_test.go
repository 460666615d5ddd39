//go:build lab

package chains

import (
	"encoding/json"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// agent is a running agent without an API server and without a container runtime.
type agent struct {
	t     *testing.T
	state string
	cmd   *exec.Cmd
	log   *lines
}

// line is what these tests read of a line of the agent's log.
type line struct {
	Msg, Cause, Action, Bond string
}

// lines collects a log.
type lines struct{ kit.Output }

// count returns how many complete lines match.
func (l *lines) count(match func(line) bool) int {
	n := 0
	for text := range strings.Lines(l.String()) {
		var at line
		if json.Unmarshal([]byte(text), &at) == nil && match(at) {
			n++
		}
	}
	return n
}

func startAgent(t *testing.T, state string) *agent {
	t.Helper()
	a := &agent{t: t, state: state}
	a.start()
	t.Cleanup(a.stop)
	return a
}

func (a *agent) start() {
	a.t.Helper()
	a.log = &lines{}
	a.cmd = exec.Command(bin+"/agent", "run", "--log-format", "json", "--log-level", "debug", "--state-dir", a.state,
		"--kubeconfig", "none", "--runtime", "none", "--listen", "", "--resync", "5s")
	a.cmd.Stdout, a.cmd.Stderr = a.log, a.log
	kit.Must(a.t, a.cmd.Start())
	a.wait("the agent's start", func(l line) bool { return l.Msg == "agent started" }, 1)
}

// stop stops the agent and waits until it has ended.
func (a *agent) stop() {
	if a.cmd.ProcessState == nil {
		_ = a.cmd.Process.Signal(syscall.SIGTERM)
		_ = a.cmd.Wait()
	}
}

// wait waits until the log has n lines that match.
func (a *agent) wait(what string, match func(line) bool, n int) {
	a.t.Helper()
	deadline := time.After(testTimeout)
	for a.log.count(match) < n {
		select {
		case <-deadline:
			a.t.Fatalf("waited in vain for %s:\n%s", what, a.log)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// evidence is the end of the log without debug lines.
func (a *agent) evidence() string {
	var shown []string
	for text := range strings.Lines(a.log.String()) {
		if !strings.Contains(text, `"level":"debug"`) {
			shown = append(shown, text)
		}
	}
	return strings.Join(shown[max(0, len(shown)-60):], "")
}
