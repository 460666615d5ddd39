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

// Line is one line of an agent's log.
type Line struct {
	Time  time.Time `json:"ts"`
	Level string    `json:"level"`
	Msg   string    `json:"msg"`
	// These are empty where a line has no such field.
	Pod    string `json:"pod"`
	Member string `json:"member"`
	Cause  string `json:"cause"`
	State  string `json:"state"`
	Reason string `json:"reason"`
	Action string `json:"action"`
	Bond   string `json:"bond"`
	What   string `json:"what"`
	// Overruns is in the last line of an agent.
	Overruns uint64 `json:"overruns"`
	// PID is in its first.
	PID int `json:"pid"`
	// Raw is the line as it was written.
	Raw string `json:"-"`
}

// isLoss reports whether a line says that a member or the bond itself is missing or changed.
func (l Line) isLoss() bool { return l.Msg == "member lost" || l.Msg == "bond damaged" }

// isRecovery reports whether a line says that a member or the bond itself is as recorded again.
func (l Line) isRecovery() bool { return l.Msg == "member recovered" || l.Msg == "bond recovered" }

// agent is a running agent.
type agent struct {
	args []string
	cmd  *exec.Cmd
	// done is closed when it has ended and its log is read to the end.
	done chan struct{}
	err  error // how it ended; to be read after done
	// atStart is what it had open when it had looked at all pods.
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

// readLines parses the log. What is no JSON (a panic, for one) is kept as it is.
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

// signal sends a signal.
func (a *agent) signal(s unix.Signal) error {
	if err := unix.Kill(a.cmd.Process.Pid, s); err != nil {
		return fmt.Errorf("agent: signal %v: %w", s, err)
	}
	return nil
}

// end sends a signal and waits for the end. An agent that ends by SIGTERM must end well.
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
		return fmt.Errorf("the agent ended badly: %w", a.err)
	}
	return nil
}

// pause stops the process where it is, and returns when it has stopped.
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

// runs says that it has not ended.
func (a *agent) runs() bool {
	select {
	case <-a.done:
		return false
	default:
		return true
	}
}

// runsAs says that it runs with these arguments.
func (a *agent) runsAs(args []string) bool {
	return a != nil && a.runs() && slices.Equal(a.args, args)
}
