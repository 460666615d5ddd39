package heal

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Line is one line of the agent's log.
type Line struct {
	Time  time.Time `json:"ts"`
	Level string    `json:"level"`
	Msg   string    `json:"msg"`
	// Empty in lines that have no such field.
	Pod    string `json:"pod"`
	Member string `json:"member"`
	Cause  string `json:"cause"`
	State  string `json:"state"`
	Reason string `json:"reason"`
	Action string `json:"action"`
	Bond   string `json:"bond"`
	What   string `json:"what"`
	// Overruns is in the agent's last line.
	Overruns uint64 `json:"overruns"`
	// PID is in the agent's first line.
	PID int `json:"pid"`
	// Raw is the unparsed line.
	Raw string `json:"-"`
}

// isLoss reports whether the line is about a member or bond that is missing or changed.
func (l Line) isLoss() bool { return l.Msg == "member lost" || l.Msg == "bond damaged" }

// isRecovery reports whether the line is about a member or bond that is again as recorded.
func (l Line) isRecovery() bool { return l.Msg == "member recovered" || l.Msg == "bond recovered" }

// agent is a running agent.
type agent struct {
	args []string
	cmd  *exec.Cmd
	// done is closed once the process has ended and its log was read to the end.
	done chan struct{}
	err  error // how the process ended; read it after done
	// atStart is what the agent had open after its first reconcile of all pods.
	atStart resources
}

// startAgent starts an agent whose log lines go to log.
func startAgent(binary string, log *feed[Line], args ...string) (*agent, error) {
	a := &agent{args: args, done: make(chan struct{})}
	a.cmd = exec.Command(binary, append([]string{"run", "--log-format", "json"}, args...)...) //nolint:gosec // the agent that is tested
	stderr, err := a.cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	if err := a.cmd.Start(); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	go func() {
		defer close(a.done)
		readLines(stderr, log)
		a.err = a.cmd.Wait()
	}()
	return a, nil
}

// readLines parses the log. A line that is not JSON (of a panic, for example) is kept raw.
func readLines(r io.Reader, log *feed[Line]) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := Line{Raw: lines.Text()}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			line.Time, line.Level, line.Msg = time.Now(), "raw", lines.Text()
		}
		log.add(line)
	}
}

func (a *agent) signal(s unix.Signal) error {
	if err := unix.Kill(a.cmd.Process.Pid, s); err != nil {
		return fmt.Errorf("agent: signal %v: %w", s, err)
	}
	return nil
}

// end sends a signal and waits until the process ends. After SIGTERM the exit code must be 0.
func (a *agent) end(ctx context.Context, s unix.Signal) error {
	if err := a.signal(s); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	select {
	case <-a.done:
	case <-ctx.Done():
		return errWaited("the agent's end", context.Cause(ctx))
	}
	if s == unix.SIGTERM && a.err != nil {
		return fmt.Errorf("the agent failed: %w", a.err)
	}
	return nil
}

// pause stops the process (SIGSTOP) and returns once it has stopped.
func (a *agent) pause() error {
	if err := a.signal(unix.SIGSTOP); err != nil {
		return err
	}
	for {
		err := unix.Waitid(unix.P_PID, a.cmd.Process.Pid, nil, unix.WSTOPPED, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func (a *agent) resume() error { return a.signal(unix.SIGCONT) }

// runs reports whether the process is running.
func (a *agent) runs() bool {
	select {
	case <-a.done:
		return false
	default:
		return true
	}
}

// runsAs reports whether the process is running with these arguments.
func (a *agent) runsAs(args []string) bool {
	return a != nil && a.runs() && slices.Equal(a.args, args)
}
