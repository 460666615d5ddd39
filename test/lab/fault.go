package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"sync"
	"time"
)

// ErrMachineFailed marks a failure of the emulated machine, not of the software in it: QEMU failed (a signal ended it
// after a failed assertion, for example), the guest's timers stopped, or two boots in a row failed. Such a test run has
// no result. test/lanes.sh searches for this text.
var ErrMachineFailed = errors.New("the emulated machine failed")

// FailedTwice is what an error about a second failure in a row says; test/lanes.sh searches for it.
const FailedTwice = "no result: the emulated machine failed twice"

// bootError is the failure of two boots in a row. It matches ErrMachineFailed.
type bootError struct{ first, second error }

func (e *bootError) Error() string {
	return fmt.Sprintf("%s at boot: first: %v\nsecond: %v", FailedTwice, e.first, e.second)
}

func (e *bootError) Unwrap() []error { return []error{ErrMachineFailed, e.second} }

// Fault returns why the machine failed, an error that matches ErrMachineFailed, or nil if it did not. A kernel panic
// is not a fault: a test may have caused it.
func (g *Guest) Fault() error {
	if stall := g.machine.stall.first(); stall != "" {
		return fmt.Errorf("lab: %w: its timers stopped: %s", ErrMachineFailed, stall)
	}
	if g.stopping.Load() || g.machine.alive.Err() == nil {
		return nil
	}
	// A QEMU that exits with an error before the guest is up has rejected its arguments.
	if err := g.machine.cause(); signalled(err) || g.session != nil && exited(err) {
		return fmt.Errorf("lab: %w: %w", ErrMachineFailed, err)
	}
	return nil
}

// Stalls returns when the guest's kernel reported that its timers or processors made no progress, oldest first. A guest
// may have recovered from such a stall, if the host had no CPU time for it.
func (g *Guest) Stalls() []time.Time { return g.machine.stall.times() }

// signalled reports whether a process was ended by a signal.
func signalled(err error) bool {
	exit := new(exec.ExitError)
	return errors.As(err, &exit) && !exit.Exited()
}

// exited reports whether a process has exited with an error.
func exited(err error) bool {
	exit := new(exec.ExitError)
	return errors.As(err, &exit) && exit.Exited()
}

// failedAtBoot reports whether a start failed because of the machine: not if QEMU rejected its arguments, and not if the
// caller gave up.
func failedAtBoot(ctx context.Context, err error) bool {
	failure := new(GuestError)
	return ctx.Err() == nil && errors.As(err, &failure) && !exited(err)
}

// stallLine matches what a kernel prints when a CPU or a timer has made no progress for some 20 seconds.
var stallLine = regexp.MustCompile(`rcu: .*(detected (expedited )?stalls|self-detected stall|kthread (starved|timer wakeup))` +
	`|watchdog: BUG: soft lockup`)

// stallWatch is a console writer that finds lines about stalls.
type stallWatch struct {
	mu   sync.Mutex
	line []byte
	// text is the first such line, at the times of all of them.
	text string
	at   []time.Time
	// seen is closed at the first such line.
	seen chan struct{}
}

func newStallWatch() *stallWatch { return &stallWatch{seen: make(chan struct{})} }

// Write never fails.
func (w *stallWatch) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for rest := p; len(rest) > 0; {
		part, after, data := bytes.Cut(rest, []byte("\n"))
		w.line = append(w.line, part...)
		if rest = after; !data {
			break
		}
		if stallLine.Match(w.line) {
			w.found()
		}
		w.line = w.line[:0]
	}
	return len(p), nil
}

// found notes the current line.
func (w *stallWatch) found() {
	w.at = append(w.at, time.Now())
	if w.text == "" {
		w.text = string(bytes.TrimSpace(w.line))
		close(w.seen)
	}
}

// times returns when lines about stalls were printed.
func (w *stallWatch) times() []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.at)
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
