package kube

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a running program. Its output goes to a file.
type process struct {
	name, log string
	os        *os.Process
	// alive ends when the program has ended; its cause is how.
	alive context.Context
}

// startProcess starts a program; it does not outlive the caller's process.
func startProcess(program, log string, args ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("kube: %w", err)
	}
	defer func() { _ = out.Close() }() // the program has its own
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	alive, end := context.WithCancelCause(context.Background())
	p := &process{name: filepath.Base(program), log: log, alive: alive}
	started := make(chan error)
	go func() {
		// The kernel sends the Pdeathsig when the thread that started the program ends: keep it until then.
		runtime.LockOSThread()         //nolint:forbidigo // the thread changes nothing, it only has to live
		defer runtime.UnlockOSThread() //nolint:forbidigo // as above
		err := cmd.Start()
		p.os = cmd.Process
		started <- err
		if err == nil {
			end(fmt.Errorf("kube: %s ended: %w; its last words:\n%s", p.name, endOf(cmd.Wait()), p.lastWords()))
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("kube: start %s: %w", p.name, err)
	}
	return p, nil
}

// endOf returns an error for an end without one.
func endOf(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// lastWords is the end of the program's output.
func (p *process) lastWords() string {
	const most = 4096
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-most):])
}

// ready waits until check succeeds, the program ends, or ctx does.
func (p *process) ready(ctx context.Context, check func(context.Context) error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.alive.Done():
			return context.Cause(p.alive) //nolint:contextcheck // the cause is how the program ended
		case <-ctx.Done():
			return fmt.Errorf("kube: %s is not ready: %w: %w; its last words:\n%s", p.name, ctx.Err(), err, p.lastWords())
		}
	}
}

// signal sends a signal to the program, if it is still running.
func (p *process) signal(s syscall.Signal) error {
	if err := p.os.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kube: %s to %s: %w", s, p.name, err)
	}
	return nil
}

// pause stops the program, and returns once all its threads have stopped.
func (p *process) pause() error {
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for {
		err := unix.Waitid(unix.P_PID, p.os.Pid, nil, unix.WSTOPPED, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// kill kills the program, paused or not, and waits until it has ended. Its pending responses are lost, as if a server's
// machine had failed.
func (p *process) kill() error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.alive.Done()
	return nil
}
