package lab_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab"
)

// TestLanes runs test/lanes.sh with a make(1) that prints what the lanes print when tests or machines fail: a lane
// whose machine failed fails with that reason and names no test.
func TestLanes(t *testing.T) {
	const (
		good    = "echo '2 passed, 0 failed, 0 skipped'; echo 'DONE 2 tests in 1s'"
		bad     = "echo '--- FAIL: TestA'; echo '1 passed, 1 failed, 0 skipped'; echo 'DONE 2 tests, 1 failure in 1s'; exit 1"
		faulty  = "echo '--- FAIL: TestNode'; echo 'lab: the emulated machine failed: signal'; echo 'DONE 2 tests, 1 failure in 1s'; exit 1"
		voidLab = "echo '--- VOID: TestA'; echo '2 passed, 0 failed, 0 skipped'; echo '" + lab.FailedTwice + "'; exit 1"
		noBoot  = "echo '--- FAIL: TestNode'; echo '" + lab.FailedTwice + " at boot'; echo 'DONE 2 tests, 1 failure in 1s'; exit 1"
	)
	for name, c := range map[string]struct {
		lab    string
		e2e    []string
		ok     bool
		total  string
		want   string
		absent string
	}{
		"good":               {good, []string{good}, true, "4 passed, 0 failed", "all lanes in", "what failed"},
		"test failed":        {good, []string{bad}, false, "3 passed, 1 failed", "what failed in e2e", "no result"},
		"machine, then good": {good, []string{faulty, good}, true, "4 passed, 0 failed", "all lanes in", "what failed"},
		"machine twice":      {good, []string{faulty, faulty}, false, "2 passed, 0 failed", "FAILED: " + lab.FailedTwice, "what failed"},
		"machine, then test": {good, []string{faulty, bad}, false, "3 passed, 1 failed", "what failed in e2e", "FAILED: " + lab.FailedTwice},
		"no boot":            {good, []string{noBoot}, false, "2 passed, 0 failed", "FAILED: " + lab.FailedTwice, "what failed"},
		"lab without result": {voidLab, []string{good}, false, "4 passed, 0 failed", "FAILED: " + lab.FailedTwice, "what failed"},
		"lab failed":         {bad, []string{good}, false, "3 passed, 1 failed", "what failed in lab", "no result"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			e2e := "if [ ! -e " + dir + "/ran ]; then touch " + dir + "/ran; " + c.e2e[0] + "; "
			if len(c.e2e) > 1 {
				e2e += "else " + c.e2e[1] + "; "
			} else {
				e2e += "else echo a second run; exit 3; "
			}
			script := "#!/bin/bash\ncase \" $* \" in\n*' test-lab '*) " + c.lab + ";;\n*' e2e '*) " + e2e + "fi;;\nesac\n"
			kit.Must(t, os.WriteFile(filepath.Join(dir, "make"), []byte(script), 0o755))
			cmd := exec.CommandContext(t.Context(), "../lanes.sh", "lab", "e2e")
			cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
			data, err := cmd.CombinedOutput()
			if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			// The ends of the lanes may show anything; what counts is the summary and the list of failed tests.
			out := string(data)
			if (err == nil) != c.ok || !strings.Contains(out, c.want) || !strings.Contains(out, "\n"+c.total) || strings.Contains(out, c.absent) || strings.Contains(out, "a second run") {
				t.Errorf("%v, want %q, %q and not %q:\n%s", err, c.total, c.want, c.absent, out)
			}
		})
	}
}
