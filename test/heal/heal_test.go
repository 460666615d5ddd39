package heal

import (
	"bytes"
	"os"
	"os/exec"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/faults"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// The demo uses the same config of the OKD page as the plugin's own tests.
func TestConfigMatchesOKDPage(t *testing.T) {
	page, err := os.ReadFile("../../pkg/cni/testdata/okd.json")
	kit.Must(t, err)
	if !bytes.Equal(page, okdConfig) {
		t.Error("testdata/okd.json differs from pkg/cni/testdata/okd.json")
	}
}

// TestEveryRowIsPlayed: a row of the catalogue has steps, or a function here; and the engine's test that it names
// exists.
func TestEveryRowIsPlayed(t *testing.T) {
	rows := 0
	for _, f := range faults.Rows() {
		if (special[f.Name] == nil) != (f.Special == "") || (len(f.Steps) > 0) == (f.Special != "") {
			t.Errorf("%s: %d steps, special for the reason %q", f.Name, len(f.Steps), f.Special)
		}
		if f.Special != "" {
			rows++
		}
		if f.Engine != "" && exec.Command("grep", "-rq", "^func "+f.Engine+"(", "../../pkg/reconcile").Run() != nil { //nolint:gosec // a constant
			t.Errorf("%s: the engine has no %s", f.Name, f.Engine)
		}
	}
	if rows != len(special) {
		t.Errorf("%d functions for %d special rows", len(special), rows)
	}
}
