package docs

import (
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

const rulesFile = "manifests/components/monitoring/rules.yaml"

var (
	doctorCheck = regexp.MustCompile(`(?m)^\t\{"([a-z-]+)", [a-zA-Z]+\},$`)
	eventReason = regexp.MustCompile(`(?m)^(?:const |\t)Event[A-Za-z]+ += "(Bond[A-Za-z]+)"$`)
	recordRule  = regexp.MustCompile(`(?m)^ +- record: (\S+)$`)
)

// TestTables: the first column of a page's table has each item of a list in the code, and no other ones.
func TestTables(t *testing.T) {
	rules := read(t, filepath.Join(root, rulesFile))
	for _, table := range []struct {
		name       string
		code       []string
		page, head string
	}{
		{"checks of the doctor", matches(doctorCheck, source(t, "pkg/doctor")), "docs/install.md", "| check | checks |"},
		{"reasons of events", matches(eventReason, source(t, "pkg/status")), "docs/status.md", "| reason | type | when |"},
		{"alerts", matches(alert, rules), "docs/monitoring.md", "| alert | severity |"},
		{"recording rules", matches(recordRule, rules), "docs/monitoring.md", "| record |"},
		{"states of a bond", texts(bond.States()), "docs/operations.md", "| state | meaning |"},
		{"states of a member", texts(bond.MemberStates()), "docs/operations.md", "| state of a member |"},
	} {
		got := slices.Sorted(maps.Keys(rows(read(t, filepath.Join(root, table.page)), table.head)))
		if want := slices.Sorted(slices.Values(table.code)); len(want) < 4 || !slices.Equal(got, want) {
			t.Errorf("%s: %s has %q, the code %q", table.name, table.page, got, want)
		}
	}
}

func matches(e *regexp.Regexp, text string) (all []string) {
	for _, m := range e.FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

func texts[T ~string](list []T) (all []string) {
	for _, item := range list {
		all = append(all, string(item))
	}
	return all
}

// rows are the rows of the table that begins with head, by the names in their first column.
func rows(page, head string) map[string]string {
	_, table, _ := strings.Cut(page, "\n"+head)
	table, _, _ = strings.Cut(table, "\n\n")
	all := map[string]string{}
	for _, row := range strings.Split(table, "\n")[1:] {
		first, rest, _ := strings.Cut(strings.TrimPrefix(row, "|"), "|")
		for _, name := range quoted.FindAllStringSubmatch(first, -1) {
			all[name[1]] = rest
		}
	}
	return all
}

// spoken are times of the rules, as the page writes them.
var spoken = map[string]string{"2m": "2 minutes", "5m": "5 minutes", "10m": "10 minutes", "15m": "15 minutes", "1h": "an hour"}

var timeRange = regexp.MustCompile(`\[([0-9]+[mh])\]`)

// TestAlertTable: the page has the severity of each alert, and its time or the one that its expression looks back.
func TestAlertTable(t *testing.T) {
	var rules struct {
		Spec struct {
			Groups []struct {
				Rules []struct {
					Alert, Expr, For string
					Labels           struct{ Severity string }
				}
			}
		}
	}
	kit.Must(t, yaml.Unmarshal([]byte(read(t, filepath.Join(root, rulesFile))), &rules))
	table := rows(read(t, filepath.Join(root, "docs/monitoring.md")), "| alert | severity |")
	for _, g := range rules.Spec.Groups {
		for _, r := range g.Rules {
			row := table[r.Alert]
			if r.Alert == "" {
				continue
			}
			if !strings.HasPrefix(row, " "+r.Labels.Severity+" |") {
				t.Errorf("%s has the severity %s, docs/monitoring.md %s", r.Alert, r.Labels.Severity, row)
			}
			times := append(matches(timeRange, r.Expr), r.For)
			if !slices.ContainsFunc(times, func(d string) bool { return spoken[d] != "" && strings.Contains(row, spoken[d]) }) {
				t.Errorf("%s has the times %q, docs/monitoring.md %s", r.Alert, times, row)
			}
		}
	}
}

// TestPackagesAreDescribed: the table of packages has each package of the programs.
func TestPackagesAreDescribed(t *testing.T) {
	table := rows(read(t, filepath.Join(root, "docs/design.md")), "| package | responsibility |")
	for _, dir := range []string{"cmd", "pkg"} {
		kit.Must(t, filepath.WalkDir(filepath.Join(root, dir), func(path string, _ fs.DirEntry, err error) error {
			name, _ := filepath.Rel(root, filepath.Dir(path))
			if strings.HasSuffix(path, ".go") && table[name] == "" {
				t.Errorf("docs/design.md has no package %s", name)
			}
			return err
		}))
	}
}

var needsAction = regexp.MustCompile(`(?s)needsManualAction\(\) bool \{(.*?)\}`)

// TestManualActionsAreDescribed: the page for operators has a remedy for each finding that needs one.
func TestManualActionsAreDescribed(t *testing.T) {
	_, section, _ := strings.Cut(read(t, filepath.Join(root, "docs/operations.md")), "\n## Manual recovery\n")
	section, _, _ = strings.Cut(section, "\n## ")
	body := needsAction.FindString(read(t, filepath.Join(root, "pkg/plan/plan.go")))
	codes := matches(regexp.MustCompile(`c == ([A-Za-z]+)`), body)
	if len(codes) < 5 {
		t.Fatalf("found the codes %q only", codes)
	}
	for _, code := range codes {
		if !strings.Contains(section, "(`"+code+"`") {
			t.Errorf("docs/operations.md has no manual recovery for %s", code)
		}
	}
}
