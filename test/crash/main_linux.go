package crash

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// A program under test is a link to the test binary, which then is its tracer. These variables contain the directory of
// the program, its fault (as JSON; empty for none), and the path of the report.
const (
	BinEnv    = "BONDKEEPER_TEST_BIN"
	FaultEnv  = "BONDKEEPER_TEST_FAULT"
	ReportEnv = "BONDKEEPER_TEST_REPORT"
)

// Main must be called first by a test binary. If the process was started as a tracer, or is to become a traced program,
// Main does that and returns its exit code. For a killed program that is 137, as in a shell.
func Main() (code int, ran bool) {
	switch name := filepath.Base(os.Args[0]); name {
	case "bond", "agent":
		return traced(name), true
	case stage:
		fault, err := faultOf()
		if err == nil {
			err = become(os.Args[1], os.Args[2:], fault)
		}
		fmt.Fprintln(os.Stderr, "tracer:", err)
		return 1, true
	}
	return 0, false
}

// traced runs the program of that name and returns its exit code.
func traced(name string) int {
	fault, err := faultOf()
	var status syscall.WaitStatus
	var report Report
	if err == nil {
		report, status, err = trace(filepath.Join(os.Getenv(BinEnv), name), os.Args[1:], fault)
	}
	if err != nil {
		report.Err = err.Error()
	}
	text, failed := json.Marshal(report)
	if failed == nil {
		failed = os.WriteFile(os.Getenv(ReportEnv), text, 0o600)
	}
	if err = errors.Join(err, failed); err != nil {
		fmt.Fprintln(os.Stderr, "tracer:", err)
		return 1
	}
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// faultOf reads the fault from the environment.
func faultOf() (f Fault, err error) {
	if text := os.Getenv(FaultEnv); text != "" {
		err = json.Unmarshal([]byte(text), &f)
	}
	return f, err
}
