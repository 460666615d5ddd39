package docs

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

var (
	alert   = regexp.MustCompile(`(?m)^ +- alert: (\S+)$`)
	cause   = regexp.MustCompile("(?m)^\\| \\[`([A-Za-z]+)`\\]\\(runbook\\.md#([a-z]+)\\) \\|")
	section = regexp.MustCompile(`(?m)^### (.*)$`)
)

// TestRunbookIsComplete: the runbook has a section per alert, state and cause, and no other ones.
func TestRunbookIsComplete(t *testing.T) {
	want := map[string]string{}
	for _, m := range alert.FindAllStringSubmatch(read(t, filepath.Join(root, "manifests/components/monitoring/rules.yaml")), -1) {
		want[m[1]] = "an alert"
	}
	for _, s := range bond.States() {
		want[string(s)] = "a state"
	}
	for _, m := range cause.FindAllStringSubmatch(read(t, filepath.Join(root, "docs/reference.md")), -1) {
		want[m[1]] = "a cause"
		if m[2] != strings.ToLower(m[1]) {
			t.Errorf("docs/reference.md: the cause %s has a link to #%s", m[1], m[2])
		}
	}
	if len(want) < 40 {
		t.Fatalf("found %d alerts, states and causes", len(want))
	}
	for _, m := range section.FindAllStringSubmatch(read(t, filepath.Join(root, "docs/runbook.md")), -1) {
		if want[m[1]] == "" {
			t.Errorf("docs/runbook.md has the section %s, which is no alert, state or cause", m[1])
		}
		delete(want, m[1])
	}
	for name, what := range want {
		t.Errorf("docs/runbook.md has no section %s, %s", name, what)
	}
}
