package kit

import (
	"errors"
	"os"
	"testing"
	"time"
)

const (
	// limit is how long an awaited event may take: a VF's carrier takes seconds in an emulated machine, and many of
	// them if the processors are shared.
	limit    = time.Minute
	interval = 20 * time.Millisecond
)

// Must ends the test if there is an error.
func Must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// Eventually waits until ok returns true, also in a cleanup. It ends the test after a minute, and then shows state, if
// it is not nil.
func Eventually(t testing.TB, what string, ok func() bool, state ...func() string) {
	t.Helper()
	deadline, tick := time.Now().Add(limit), time.NewTicker(interval)
	defer tick.Stop()
	for ; !ok(); <-tick.C {
		if time.Now().After(deadline) {
			for _, s := range state {
				t.Log(s())
			}
			t.Fatalf("waited %s for %s", limit, what)
		}
	}
}

// WriteFile writes a file that only root can read.
func WriteFile(t testing.TB, path, text string) {
	t.Helper()
	Must(t, os.WriteFile(path, []byte(text), 0o600))
}

// Program writes a program, a script for example.
func Program(t testing.TB, path, text string) {
	t.Helper()
	Must(t, os.WriteFile(path, []byte(text), 0o700)) //nolint:gosec // a program
}
