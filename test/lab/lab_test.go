package lab_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab"
	"github.com/bondkeeper/bondkeeper/test/lab/topology"
)

// start boots a guest for a test. The test is skipped on a machine without the lab.
func start(t *testing.T, cfg lab.Config) *lab.Guest {
	t.Helper()
	if testing.Short() {
		t.Skip("boots a guest")
	}
	guest, err := lab.Start(t.Context(), cfg)
	if errors.Is(err, lab.ErrNotReady) {
		t.Skip(err)
	}
	kit.Must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := guest.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return guest
}

func TestBadConfig(t *testing.T) {
	for name, cfg := range map[string]lab.Config{
		"too many cards":  {Cards: lab.MaxCards + 1},
		"too many VFs":    {Cards: 1, VFs: lab.MaxVFs + 1},
		"too many CPUs":   {CPUs: lab.MaxCPUs + 1},
		"negative CPUs":   {CPUs: -1},
		"too much memory": {MemoryMiB: lab.MaxMemoryMiB + 1},
		"no accelerator":  {Accel: "magic"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := lab.Start(t.Context(), cfg); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestUnknownCards(t *testing.T) {
	t.Setenv(lab.CardsEnv, "magic")
	_, err := lab.Start(t.Context(), lab.Config{QEMU: "true"})
	if err == nil || !strings.Contains(err.Error(), "magic: want igb or virtio") {
		t.Errorf("error %v", err)
	}
}

func TestMissingPieces(t *testing.T) {
	for name, cfg := range map[string]lab.Config{
		"QEMU":   {QEMU: "no-such-qemu"},
		"kernel": {QEMU: "true", CacheDir: t.TempDir()},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := lab.Start(t.Context(), cfg)
			if !errors.Is(err, lab.ErrNotReady) {
				t.Errorf("error %v, want one that matches ErrNotReady", err)
			}
		})
	}
}

// TestQEMUFails: if QEMU fails at once, its error message is in the error.
func TestQEMUFails(t *testing.T) {
	qemu := filepath.Join(t.TempDir(), "qemu")
	kit.Must(t, os.WriteFile(qemu, []byte("#!/bin/sh\necho no such card >&2\nexit 1\n"), 0o755))
	_, err := lab.Start(t.Context(), lab.Config{QEMU: qemu, Accel: lab.TCG})
	if errors.Is(err, lab.ErrNotReady) {
		t.Skip(err)
	}
	if !errors.Is(err, lab.ErrGuestGone) || !strings.Contains(err.Error(), "no such card") {
		t.Errorf("error %v, want ErrGuestGone with QEMU's complaint", err)
	}
}

// TestGuestDoesNotRespond: if QEMU does nothing, the start ends with the boot timeout.
func TestGuestDoesNotRespond(t *testing.T) {
	qemu := filepath.Join(t.TempDir(), "qemu")
	kit.Must(t, os.WriteFile(qemu, []byte("#!/bin/sh\necho booting\nexec sleep 60\n"), 0o755))
	_, err := lab.Start(t.Context(), lab.Config{QEMU: qemu, Accel: lab.TCG, BootTimeout: 200 * time.Millisecond})
	if errors.Is(err, lab.ErrNotReady) {
		t.Skip(err)
	}
	if failure := new(lab.GuestError); !errors.As(err, &failure) || !strings.Contains(err.Error(), "no answer within 200ms") {
		t.Errorf("error %v, want a GuestError about the time", err)
	}
}

// TestGuest boots once and runs all tests that need no guest of their own; the last one ends it. Its QEMU aborts at the
// first start, which is repeated.
func TestGuest(t *testing.T) {
	guest := start(t, lab.Config{Cards: 1, VFs: 1, QEMU: abortsOnce(t)})
	t.Run("exit status", func(t *testing.T) { exitStatus(t, guest) })
	t.Run("missing program", func(t *testing.T) { missingProgram(t, guest) })
	t.Run("output", func(t *testing.T) { largeOutput(t, guest) })
	t.Run("cancel", func(t *testing.T) { cancelled(t, guest) })
	t.Run("orphans", func(t *testing.T) { orphans(t, guest) })
	t.Run("files", func(t *testing.T) { files(t, guest) })
	t.Run("terminal", func(t *testing.T) { terminal(t, guest) })
	t.Run("link", func(t *testing.T) { link(t, guest) })
	t.Run("panic", func(t *testing.T) { panics(t, guest) })
}

// sh runs a shell script in the guest and returns its standard output.
func sh(t *testing.T, guest *lab.Guest, script string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := guest.Run(t.Context(), lab.Cmd{Path: "sh", Args: []string{"-c", script}, Stdout: &out, Stderr: t.Output()})
	return out.String(), err
}

func exitStatus(t *testing.T, guest *lab.Guest) {
	var stdout, stderr bytes.Buffer
	err := guest.Run(t.Context(), lab.Cmd{
		Path: "sh", Args: []string{"-c", "echo $WORD; pwd >&2; exit 7"},
		Env: []string{"WORD=hello"}, Dir: "/usr", Stdout: &stdout, Stderr: &stderr,
	})
	exit := new(lab.ExitError)
	if !errors.As(err, &exit) || exit.Code != 7 {
		t.Errorf("error %v, want exit status 7", err)
	}
	if stdout.String() != "hello\n" || stderr.String() != "/usr\n" {
		t.Errorf("output %q and %q", stdout.String(), stderr.String())
	}
	if _, err := sh(t, guest, "kill -TERM $$"); !errors.As(err, &exit) || exit.Signal != "terminated" {
		t.Errorf("error %v, want the signal", err)
	}
}

func missingProgram(t *testing.T, guest *lab.Guest) {
	err := guest.Run(t.Context(), lab.Cmd{Path: "/no/such/program"})
	if err == nil || !strings.Contains(err.Error(), "/no/such/program") {
		t.Errorf("error %v, want one that names the program", err)
	}
}

// largeOutput runs several commands at once, each with much output, and one of them with a slow reader.
func largeOutput(t *testing.T, guest *lab.Guest) {
	const size = 4 << 20
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			var n counter
			err := guest.Run(t.Context(), lab.Cmd{
				Path: "head", Args: []string{"-c", fmt.Sprint(size), "/dev/zero"}, Stdout: &n,
			})
			if err != nil || int(n) != size {
				t.Errorf("command %d: %d bytes, %v", i, n, err)
			}
		})
	}
	wg.Wait()
}

// counter counts what is written to it.
type counter int

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

func cancelled(t *testing.T, guest *lab.Guest) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	started := writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })
	err := guest.Run(ctx, lab.Cmd{
		Path: "sh", Args: []string{"-c", "echo started; exec sleep 1234"}, Stdout: started,
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
	if _, err := sh(t, guest, "! pgrep -f 'sleep 1234' | grep -v $$"); err != nil {
		t.Errorf("the command lives on: %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// orphans starts a daemon that holds the output open: the command ends anyway, and the daemon with it.
func orphans(t *testing.T, guest *lab.Guest) {
	if _, err := sh(t, guest, "setsid sleep 4321 & echo $!"); err != nil {
		t.Fatal(err)
	}
	if _, err := sh(t, guest, "! pgrep -x sleep"); err != nil {
		t.Errorf("the daemon lives on: %v", err)
	}
}

func files(t *testing.T, guest *lab.Guest) {
	kit.Must(t, os.WriteFile(filepath.Join(guest.WorkDir(), "from-host"), []byte("ping"), 0o644))
	script := "cd " + topology.ShareDir + ` && [ "$(cat from-host)" = ping ] && echo pong >from-guest`
	if _, err := sh(t, guest, script); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(guest.WorkDir(), "from-guest")); err != nil || string(got) != "pong\n" {
		t.Errorf("from the guest: %q, %v", got, err)
	}
	// The guest's other writes do not reach the host.
	if _, err := sh(t, guest, "echo x >/etc/bondkeeper-lab-test && test -e /etc/bondkeeper-lab-test"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat("/etc/bondkeeper-lab-test"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file of the guest on the host: %v", err)
	}
}

func terminal(t *testing.T, guest *lab.Guest) {
	var out bytes.Buffer
	in, typed := io.Pipe()
	defer func() { _ = typed.Close() }()
	sizes := make(chan lab.Size, 1)
	sizes <- lab.Size{Rows: 33, Cols: 99}
	stdout := writerFunc(func(p []byte) (int, error) {
		if strings.Contains(string(p), "name?") {
			go fmt.Fprintln(typed, "lab")
		}
		return out.Write(p)
	})
	err := guest.Run(t.Context(), lab.Cmd{
		Path: "sh", Args: []string{"-c", "echo name?; read name; stty size; echo hello $name"},
		Stdout: stdout, Terminal: &lab.Terminal{Input: in, Sizes: sizes},
	})
	if err != nil || !strings.Contains(out.String(), "33 99\r\nhello lab\r\n") {
		t.Errorf("terminal said %q, %v", out.String(), err)
	}
}

// link unplugs the card's cable and checks for the loss of carrier.
func link(t *testing.T, guest *lab.Guest) {
	pf := guest.Topology().Cards[0].PF.Name
	for _, up := range []bool{true, false, true} {
		kit.Must(t, guest.SetLink(t.Context(), 0, up))
		want := map[bool]string{true: "1", false: "0"}[up]
		script := fmt.Sprintf("timeout 30 sh -c 'until [ $(cat /sys/class/net/%s/carrier) = %s ]; do sleep 0.1; done'", pf, want)
		if _, err := sh(t, guest, script); err != nil {
			t.Errorf("link %v: %v", up, err)
		}
	}
	refusal := new(lab.QMPError)
	if err := guest.SetLink(t.Context(), 5, true); !errors.As(err, &refusal) {
		t.Errorf("error %v, want QEMU's refusal", err)
	}
}

// panics makes the kernel panic while a command runs.
func panics(t *testing.T, guest *lab.Guest) {
	_, err := sh(t, guest, "echo c >/proc/sysrq-trigger")
	failure := new(lab.GuestError)
	if !errors.As(err, &failure) || !errors.Is(err, lab.ErrGuestGone) {
		t.Fatalf("error %v, want a GuestError that matches ErrGuestGone", err)
	}
	if !strings.Contains(failure.Console, "Kernel panic - not syncing: sysrq triggered crash") {
		t.Errorf("console without the panic: %s", failure.Console)
	}
	<-guest.Done()
	if err := guest.Run(t.Context(), lab.Cmd{Path: "true"}); !errors.Is(err, lab.ErrGuestGone) {
		t.Errorf("error %v, want ErrGuestGone", err)
	}
	if fault := guest.Fault(); fault != nil {
		t.Errorf("a panic is taken for a fault of the machine: %v", fault)
	}
}

// TestDepsIsQuick runs the installer on a machine where everything is installed.
func TestDepsIsQuick(t *testing.T) {
	cache, err := lab.DefaultCacheDir(t.Context())
	kit.Must(t, err)
	if _, err := os.Stat(filepath.Join(cache, "kernel", "version")); err != nil {
		t.Skip("the lab is not installed")
	}
	if out, err := exec.CommandContext(t.Context(), "./deps.sh").CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "deps: ready: ") {
		t.Errorf("deps.sh: %v: %s", err, out)
	}
}
