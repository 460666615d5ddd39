package plan

import (
	"os"
	"strings"
	"testing"
)

// TestManualRecoveryIsComplete: operations.md has a row for each code that needs manual action, and its advice is more
// than to wait.
func TestManualRecoveryIsComplete(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	manual := 0
	for code, a := range advice {
		if !code.needsManualAction() {
			continue
		}
		manual++
		if !strings.Contains(string(text), "`"+string(code)+"`") {
			t.Errorf("docs/operations.md has no row for %s", code)
		}
		if strings.HasPrefix(a.Action, "Nothing") {
			t.Errorf("%s needs manual action, and the advice is %q", code, a.Action)
		}
	}
	if manual == 0 {
		t.Error("no code needs manual action")
	}
}
