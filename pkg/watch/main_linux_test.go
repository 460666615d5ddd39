package watch

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/leak"
)

// isolated is set in the process that runs the tests.
const isolated = "BONDKEEPER_WATCH_TEST_ISOLATED"

// TestMain runs the tests in their own network namespace in place of the host's: they change nothing there, and there
// are no other events. In their own mount namespace no mount of a sandbox remains after a killed test.
func TestMain(m *testing.M) {
	if os.Getenv(isolated) != "" || labHost {
		os.Exit(leak.Main(m))
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), isolated+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, "these tests need root:", err)
		os.Exit(1)
	}
}
