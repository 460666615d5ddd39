package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"sync"
	"time"
)

// ErrMachineFailed marks a failure of the emulated machine, not of the software in it: a signal ended QEMU (after a
// failed assertion, for example), or the guest's timers stopped. Such a test run has no result. test/lanes.sh searches
// for this text.
var ErrMachineFailed = errors.New("the emulated machine failed")

// Fault returns why the machine failed, an error that matches ErrMachineFailed, or nil if it did not. A kernel panic
// is not a fault: a test may have caused it.
func (g *Guest) Fault() error {
	if stall := g.machine.stall.first(); stall != "" {
		return fmt.Errorf("lab: %w: its timers stopped: %s", ErrMachineFailed, stall)
	}
	if g.stopping.Load() || g.machine.alive.Err() == nil {
		return nil
	}
	if err := g.machine.cause(); signalled(err) {
		return fmt.Errorf("lab: %w: %w", ErrMachineFailed, err)
	}
	return nil
}

// signalled reports whether a process was ended by a signal.
func signalled(err error) bool {
	exit := new(exec.ExitError)
	return errors.As(err, &exit) && !exit.Exited()
}

// startAgain reports whether a failed start should be repeated: not if QEMU rejected its arguments.
func startAgain(ctx context.Context, err error) bool {
	failure, exit := new(GuestError), new(exec.ExitError)
	return ctx.Err() == nil && errors.As(err, &failure) && (!errors.As(err, &exit) || !exit.Exited())
}

// stallLine matches what a kernel prints when a CPU or a timer has made no progress for 21 seconds.
var stallLine = regexp.MustCompile(`rcu: .*(detected (expedited )?stalls|self-detected stall|kthread (starved|timer wakeup))`)

// stallWatch is a console writer that finds the first line about a stall.
type stallWatch struct {
	mu   sync.Mutex
	line []byte
	text string
	// seen is closed at the first such line.
	seen chan struct{}
}

func newStallWatch() *stallWatch { return &stallWatch{seen: make(chan struct{})} }

// Write never fails.
func (w *stallWatch) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for rest := p; w.text == "" && len(rest) > 0; {
		part, after, data := bytes.Cut(rest, []byte("\n"))
		w.line = append(w.line, part...)
		if rest = after; !data {
			break
		}
		if stallLine.Match(w.line) {
			w.text = string(bytes.TrimSpace(w.line))
			close(w.seen)
		}
		w.line = w.line[:0]
	}
	return len(p), nil
}

// first returns the first line about a stall; empty if there is none.
func (w *stallWatch) first() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text
}

// guardTimers stops a guest whose timers have stopped, so that callers need not wait for a timeout. A guest that
// reports a stall and recovers is left alone; the host may have given QEMU no CPU time.
func (g *Guest) guardTimers(ctx context.Context, probeTime time.Duration) {
	select {
	case <-g.machine.stall.seen:
	case <-g.Done():
		return
	}
	for g.machine.alive.Err() == nil {
		probe, cancel := context.WithTimeout(ctx, probeTime)
		// It needs a working timer in the guest.
		if err := g.Run(probe, Cmd{Path: "sleep", Args: []string{"1"}}); err != nil && g.machine.alive.Err() == nil {
			g.cfg.logf("the guest's timers have stopped, ending it: %s; %v", g.machine.stall.first(), errors.Join(err, g.machine.kill()))
			<-g.Done()
		}
		select {
		case <-probe.Done():
		case <-g.Done():
		}
		cancel()
	}
}
