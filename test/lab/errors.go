package lab

import (
	"errors"
	"fmt"
	"strings"
	"sync"
)

// ErrGuestGone means that the guest's machine has ended: it was stopped, powered itself off, or its kernel panicked.
var ErrGuestGone = errors.New("the guest has gone")

// GuestError is a failure of the guest itself. Its text ends with the console's last lines, which often explain it
// better than the error.
type GuestError struct {
	// Err is the error.
	Err error
	// Console holds the last lines that the guest's kernel and QEMU printed.
	Console string
}

func (e *GuestError) Error() string {
	if e.Console == "" {
		return fmt.Sprintf("lab: %v; the console is empty", e.Err)
	}
	return fmt.Sprintf("lab: %v; the console's last lines:\n  %s", e.Err, strings.ReplaceAll(e.Console, "\n", "\n  "))
}

func (e *GuestError) Unwrap() error { return e.Err }

// ExitError means that a command in the guest failed.
type ExitError struct {
	// Code is the exit status, -1 if a signal ended the command.
	Code int
	// Signal is that signal's name, such as "killed".
	Signal string
}

func (e *ExitError) Error() string {
	if e.Signal != "" {
		return "signal: " + e.Signal
	}
	return fmt.Sprintf("exit status %d", e.Code)
}

const (
	// tailBytes is how much of a console is stored, tailLines how much of that is shown.
	tailBytes = 16 << 10
	tailLines = 60
)

// tail is a writer that stores the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	data []byte
}

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p...)
	if extra := len(t.data) - tailBytes; extra > 0 {
		t.data = append(t.data[:0], t.data[extra:]...)
	}
	return len(p), nil
}

// String returns the last lines, without the carriage returns of a serial line.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := strings.TrimSpace(strings.ReplaceAll(string(t.data), "\r", ""))
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}
