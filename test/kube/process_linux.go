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
)

// process is a running program. What it writes goes to a file.
type process struct {
	name, log string
	os        *os.Process
	// alive ends when the program has ended; its cause says how.
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
		// The kernel sends the Pdeathsig when the thread ends that started the program: keep it until then.
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

// endOf gives an end without error a name.
func endOf(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// lastWords is the end of what the program wrote.
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

// signal sends a signal to the program; one that has ended gets none.
func (p *process) signal(s syscall.Signal) error {
	if err := p.os.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kube: %s to %s: %w", s, p.name, err)
	}
	return nil
}

// kill ends the program at once, paused or not, and waits for its end. What it has not yet answered is lost, as
// with a server whose machine fails.
func (p *process) kill() error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.alive.Done()
	return nil
}
