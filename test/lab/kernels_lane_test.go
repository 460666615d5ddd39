package lab_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestKernelsLane runs the lane with a make(1) that prints what bin/lab test prints: its sum is that of all kernels, and
// a suite without result fails it.
func TestKernelsLane(t *testing.T) {
	const (
		up     = "echo 'lab:  9.6 s: Linux 6.1.0-50-amd64 is up, waiting for its 2 cards'; "
		link   = "echo 'ok   github.com/bondkeeper/bondkeeper/pkg/link  40 passed, 0 failed, 2 skipped  (1.0 s)'; "
		repair = "echo 'ok   github.com/bondkeeper/bondkeeper/test/heal  5 passed, 0 failed, 0 skipped  (1.0 s)'; "
		wrong  = "echo 'FAIL github.com/bondkeeper/bondkeeper/test/heal  4 passed, 1 failed, 0 skipped  (1.0 s)'; exit 1; "
	)
	for name, c := range map[string]struct{ lab, want string }{
		"good":               {up + link + repair, "\n90 passed, 0 failed, 4 skipped\n"},
		"test failed":        {up + link + wrong, "\n88 passed, 2 failed, 4 skipped\n"},
		"a suite is missing": {up + link, "FAILED"},
		"no test ran":        {up, "FAILED: no test ran"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			kit.Must(t, os.WriteFile(filepath.Join(dir, "make"), []byte("#!/bin/bash\ncase \" $* \" in\n*' test-lab '*) "+c.lab+";;\nesac\n"), 0o755))
			cmd := exec.CommandContext(t.Context(), "../lanes.sh", "kernels")
			cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			if (err == nil) != (name == "good") || !strings.Contains(string(out), c.want) {
				t.Errorf("%v, want %q:\n%s", err, c.want, out)
			}
			if row := "6.1.0-50-amd64         pkg/link         ok    40 passed"; strings.Contains(c.lab, link) && strings.Count(string(out), row) < 2 {
				t.Errorf("no row %q for both kernels:\n%s", row, out)
			}
		})
	}
}
