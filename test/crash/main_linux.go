package crash

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// A program under test is a link to the test binary, which is then its tracer: these variables tell it in which directory the
// program is, before which change to kill it (0 for none), and where to write the changes.
const (
	BinEnv    = "BONDKEEPER_TEST_BIN"
	KillEnv   = "BONDKEEPER_TEST_KILL"
	ReportEnv = "BONDKEEPER_TEST_REPORT"
)

// Main is the first thing that a test binary calls. If the process was started as a tracer, or is to become a traced program, Main
// does that and returns its exit code, which is 137 for a program that was killed, as in a shell.
func Main() (code int, ran bool) {
	switch name := filepath.Base(os.Args[0]); name {
	case "bond", "agent":
		return traced(name), true
	case stage:
		fmt.Fprintln(os.Stderr, "tracer:", become(os.Args[1], os.Args[2:]))
		return 1, true
	}
	return 0, false
}

// traced runs the program of that name and returns its exit code.
func traced(name string) int {
	kill, _ := strconv.Atoi(os.Getenv(KillEnv))
	changes, status, err := trace(filepath.Join(os.Getenv(BinEnv), name), os.Args[1:], kill)
	if err == nil {
		var text []byte
		if text, err = json.Marshal(changes); err == nil {
			err = os.WriteFile(os.Getenv(ReportEnv), text, 0o600)
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
