package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/runtime"
)

// TestDoctorWithoutToken: the token of the agent's pod cannot be read. That is one finding, beside those of all other
// checks.
func TestDoctorWithoutToken(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "1")
	t.Setenv("KUBECONFIG", "")
	cmd, out := doctorCommand(), new(bytes.Buffer)
	cmd.SetOut(out)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs([]string{"--runtime", runtime.None, "--agent", "", "--state-dir", t.TempDir()})
	_ = cmd.ExecuteContext(t.Context()) // other checks may fail on this machine
	text := out.String()
	if strings.Count(text, "serviceaccount/token") != 1 || !strings.Contains(text, "kernel") {
		t.Errorf("the report:\n%s", text)
	}
}
