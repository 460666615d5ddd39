//go:build lab

package crash

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// A program under test is a link to the test binary, which is then its tracer: these tell it what to run, before which change to
// kill it, and where to write the changes.
const (
	binEnv    = "BONDKEEPER_TEST_BIN"
	killEnv   = "BONDKEEPER_TEST_KILL"
	reportEnv = "BONDKEEPER_TEST_REPORT"
)

func TestMain(m *testing.M) {
	switch name := filepath.Base(os.Args[0]); name {
	case "bond", "agent":
		os.Exit(traced(name))
	case stage:
		fmt.Fprintln(os.Stderr, "tracer:", become(os.Args[1], os.Args[2:]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// traced runs the program of that name and returns its exit code, which is 137 for one that was killed, as in a shell.
func traced(name string) int {
	kill, _ := strconv.Atoi(os.Getenv(killEnv))
	changes, status, err := trace(filepath.Join(os.Getenv(binEnv), name), os.Args[1:], kill)
	if err == nil {
		var text []byte
		if text, err = json.Marshal(changes); err == nil {
			err = os.WriteFile(os.Getenv(reportEnv), text, 0o600)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tracer:", err)
		return 1
	}
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}
