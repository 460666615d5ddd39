//go:build kube

package monitoring

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

const (
	component = "../../manifests/components/monitoring/"
	programs  = "../../.cache/prometheus/"
)

// rule is an alert or a recording rule.
type rule struct {
	Alert, Record, Expr string
	Labels, Annotations map[string]string
}

// ruleFile is the spec of the PrometheusRule, as the operator writes it into a rule file of Prometheus; and all rules.
func ruleFile(t *testing.T) (text []byte, rules []rule) {
	t.Helper()
	manifest, err := os.ReadFile(component + "rules.yaml")
	kit.Must(t, err)
	var object struct{ Spec json.RawMessage }
	kit.Must(t, yaml.Unmarshal(manifest, &object))
	var spec struct{ Groups []struct{ Rules []rule } }
	kit.Must(t, json.Unmarshal(object.Spec, &spec))
	for _, g := range spec.Groups {
		rules = append(rules, g.Rules...)
	}
	if len(rules) < 10 {
		t.Fatalf("found %d rules only", len(rules))
	}
	text, err = yaml.JSONToYAML(object.Spec)
	kit.Must(t, err)
	return text, rules
}

// unitTests are the tests of the rules for promtool.
const unitTests = "testdata/rules_test.yaml"

// TestRules: promtool accepts the rules, and their unit tests pass.
func TestRules(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rules, _ := ruleFile(t)
	tests, err := os.ReadFile(unitTests)
	kit.Must(t, err, os.WriteFile(filepath.Join(dir, "rules.yaml"), rules, 0o600), os.WriteFile(filepath.Join(dir, "test.yaml"), tests, 0o600))
	for _, args := range [][]string{
		{"check", "rules", "--lint=all", "--lint-fatal", filepath.Join(dir, "rules.yaml")},
		{"test", "rules", filepath.Join(dir, "test.yaml")},
	} {
		if out, err := exec.CommandContext(t.Context(), programs+"promtool", args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", args[0], err, out)
		}
	}
}

// TestAlerts: each alert has a severity, texts and a section in the runbook, and unit tests in which it fires and in
// which it does not.
func TestAlerts(t *testing.T) {
	const runbook = "https://github.com/bondkeeper/bondkeeper/blob/main/docs/runbook.md#"
	text, err := os.ReadFile(unitTests)
	kit.Must(t, err)
	var unit struct {
		Tests []struct {
			AlertRuleTest []struct {
				Alertname string
				ExpAlerts []any `json:"exp_alerts"`
			} `json:"alert_rule_test"`
		}
	}
	kit.Must(t, yaml.Unmarshal(text, &unit))
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range unit.Tests {
		for _, a := range test.AlertRuleTest {
			fires[a.Alertname] = fires[a.Alertname] || len(a.ExpAlerts) > 0
			silent[a.Alertname] = silent[a.Alertname] || len(a.ExpAlerts) == 0
		}
	}
	_, rules := ruleFile(t)
	for _, r := range rules {
		if r.Alert == "" {
			continue
		}
		if s := r.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s has the severity %q", r.Alert, s)
		}
		for _, name := range []string{"summary", "description"} {
			if !strings.HasSuffix(r.Annotations[name], ".") {
				t.Errorf("%s has the %s %q, want a sentence", r.Alert, name, r.Annotations[name])
			}
		}
		if want, url := runbook+strings.ToLower(r.Alert), r.Annotations["runbook_url"]; url != want {
			t.Errorf("%s has the runbook %s, want %s", r.Alert, url, want)
		}
		if !fires[r.Alert] || !silent[r.Alert] {
			t.Errorf("%s has no unit tests: fires: %t, does not fire: %t", r.Alert, fires[r.Alert], silent[r.Alert])
		}
	}
}
