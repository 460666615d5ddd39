//go:build e2e

package sandbox

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab"
)

// TestReboot: records on a disk outlive their boot. The VFs that they name then belong to another pod.
func TestReboot(t *testing.T) {
	top, err := filepath.Abs("../..")
	kit.Must(t, err)
	// In the cache, which the guests can read.
	dir, err := os.MkdirTemp(filepath.Join(top, ".cache"), "reboot-")
	kit.Must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	program, share := filepath.Join(dir, "reboot"), filepath.Join(dir, "share")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./reboot")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, step := range []string{"before", "after"} {
		boot(t, share, lab.Cmd{Path: program, Args: []string{step, top}, Stdout: t.Output(), Stderr: t.Output()})
	}
}

// boot runs a command in its own guest. The guest's end is a power failure.
func boot(t *testing.T, share string, cmd lab.Cmd) {
	t.Helper()
	guest, err := lab.Start(t.Context(), lab.Config{Cards: 2, VFs: 2, WorkDir: share, Logf: t.Logf})
	kit.Must(t, err)
	defer func() {
		if fault := guest.Fault(); fault != nil && t.Failed() {
			t.Log(fault) // test/lanes.sh then repeats the test
		}
		if err := guest.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	kit.Must(t, guest.Run(t.Context(), cmd))
}
