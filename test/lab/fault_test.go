package lab_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab"
)

// script writes a program to use as QEMU.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "qemu")
	kit.Must(t, os.WriteFile(path, []byte("#!/bin/bash\n"+text), 0o755))
	return path
}

// abortsOnce is a QEMU that aborts at its first start, as after a failed assertion.
func abortsOnce(t *testing.T) string {
	t.Helper()
	return script(t, fmt.Sprintf("if mkdir %s/started 2>/dev/null; then kill -ABRT $$; fi\nexec qemu-system-x86_64 \"$@\"\n", t.TempDir()))
}

// TestStartsAgain counts the attempts to start a QEMU that never works. A machine that fails twice is reported as such.
func TestStartsAgain(t *testing.T) {
	self, err := os.Executable()
	kit.Must(t, err)
	for name, c := range map[string]struct {
		end   string
		tries int
		found string
	}{
		"aborted":                     {"kill -ABRT $$", 2, "aborted"},
		"hangs":                       {"exec sleep 60", 2, "no answer within"},
		"stalls":                      {"echo 'rcu: INFO: rcu_preempt self-detected stall on CPU'; exec sleep 60", 2, "its timers stopped: rcu: INFO"},
		"panics":                      {"echo 'Kernel panic - not syncing'; exit 0", 2, "Kernel panic"},
		"rejected":                    {"exit 1", 1, "exit status 1"},
		"rejected after it connected": {"exec env " + fakeQEMUEnv + "=\"$*\" " + self + " -test.run '^TestFakeQEMU$'", 1, "exit status 3"},
	} {
		t.Run(name, func(t *testing.T) {
			tries := filepath.Join(t.TempDir(), "tries")
			qemu := script(t, fmt.Sprintf("echo try >>%s\n%s\n", tries, c.end))
			_, err := lab.Start(t.Context(), lab.Config{QEMU: qemu, Accel: lab.TCG, BootTimeout: 2 * time.Second}) // on a busy machine a program starts late
			if errors.Is(err, lab.ErrNotReady) {
				t.Skip(err)
			}
			if err == nil || !strings.Contains(err.Error(), c.found) {
				t.Fatalf("error %v, want %q", err, c.found)
			}
			if failed := c.tries == 2; errors.Is(err, lab.ErrMachineFailed) != failed || strings.HasPrefix(err.Error(), lab.FailedTwice) != failed {
				t.Errorf("error %v, want one about the machine: %v", err, failed)
			}
			data, err := os.ReadFile(tries)
			if got := strings.Count(string(data), "try"); got != c.tries {
				t.Errorf("%d attempts, want %d (%v)", got, c.tries, err)
			}
		})
	}
}

// fakeQEMUEnv makes TestFakeQEMU a QEMU with these arguments.
const fakeQEMUEnv = "BONDKEEPER_LAB_FAKE_QEMU"

// TestFakeQEMU is a program: a QEMU that connects its monitor, closes it, and then exits with an error.
func TestFakeQEMU(t *testing.T) {
	args, is := os.LookupEnv(fakeQEMUEnv)
	if !is {
		return
	}
	_, path, _ := strings.Cut(args, "path=")
	path, _, _ = strings.Cut(path, " ")
	c, err := net.Dial("unix", path)
	kit.Must(t, err, c.Close())
	<-time.After(100 * time.Millisecond)
	os.Exit(3)
}

// TestStall reports a stall as the guest's kernel does, which is harmless while the timers run. It then stops the
// guest's CPUs, and so its timers: the guest is stopped, and Fault returns the reason.
func TestStall(t *testing.T) {
	const line = "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:"
	guest := start(t, lab.Config{ProbeTime: 10 * time.Second})
	if _, err := sh(t, guest, "echo '<2>"+line+"' >/dev/kmsg; sleep 3"); err != nil {
		t.Errorf("a stall that passes has ended the guest: %v", err)
	}
	if fault := guest.Fault(); !errors.Is(fault, lab.ErrMachineFailed) || !strings.Contains(fault.Error(), line) {
		t.Errorf("fault %v, want the stall", fault)
	}
	if _, err := guest.QMP(t.Context(), "stop", nil); err != nil {
		t.Fatal(err)
	}
	if err := guest.Run(t.Context(), lab.Cmd{Path: "true"}); !errors.Is(err, lab.ErrGuestGone) {
		t.Errorf("error %v of a guest whose timers stopped, want ErrGuestGone", err)
	}
}
