package plan_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

var update = flag.Bool("update", false, "rewrite the expected sections of testdata/*/*.txtar")

// TestCases runs each file of testdata as one reconcile of a bond and compares what is decided. testdata/README.md
// describes the files.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(strings.TrimPrefix(file, "testdata/"), ".txtar"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := runCase(want)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case bytes.Equal(got, want):
			case !*update:
				t.Errorf("wanted (-) and got (+); go test ./pkg/plan -update accepts it:\n%s", cmp.Diff(lines(want), lines(got)))
			default:
				err = os.WriteFile(file, got, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

func lines(text []byte) []string { return strings.Split(string(text), "\n") }

// TestCasesAreStrict: a mistake in a case is an error.
func TestCasesAreStrict(t *testing.T) {
	for name, text := range map[string]string{
		"unknown section":         "why\n-- observd --\n",
		"unknown key":             "why\n-- observed --\nbond: {mtuu: 1280}\n",
		"unknown key of a record": "why\n-- record --\nspec: {mtuu: 1280}\n",
		"unknown location":        "why\n-- observed --\nnet1: {location: moon}\n",
		"unknown sysctl":          "why\n-- observed --\nnet1: {settings: {ipv4.conf.arp_shout: 1}}\n",
		"unknown active member":   "why\n-- observed --\nbond: {active: net7}\n",
		"unknown bonding option":  "why\n-- record --\nspec: {options: {moode: active-backup}}\n",
		"no such route to lack":   "why\n-- observed --\nbond: {missingRoutes: [192.0.2.0/24]}\n",
		"action that is not due":  "why\n-- hints --\nfailed: [net1 SetUp]\n",
		"hint about no member":    "why\n-- hints --\nnet7: overdue\n",
		"key twice":               "why\n-- observed --\nbond: {mtu: 1, mtu: 2}\n",
		"no reason":               "-- observed --\nbond: {mtu: 1280}\n",
		"section twice":           "why\n-- observed --\n-- observed --\n",
	} {
		if _, err := runCase([]byte(text)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The sections of a case: input and expectation, in their order in the file.
var (
	given    = []string{"record", "observed", "hints"}
	expected = []string{"verdict", "findings", "warnings", "actions", "due", "learned", "adopted", "listed", "record changes"}
)

// runCase returns the text of a case with the expected sections replaced by the actual ones. Empty ones are left out.
func runCase(text []byte) ([]byte, error) {
	archive := txtar.Parse(text)
	if strings.TrimSpace(string(archive.Comment)) == "" {
		return nil, fmt.Errorf("no comment: what is the rule, and why?")
	}
	in, seen := map[string][]byte{}, map[string]bool{}
	out := &txtar.Archive{Comment: archive.Comment}
	for _, f := range archive.Files {
		if seen[f.Name] {
			return nil, fmt.Errorf("section %q is there twice", f.Name)
		}
		seen[f.Name] = true
		switch {
		case slices.Contains(given, f.Name):
			in[f.Name] = f.Data
			out.Files = append(out.Files, f)
		case !slices.Contains(expected, f.Name):
			return nil, fmt.Errorf("unknown section %q", f.Name)
		}
	}
	got, err := reconcileOnce(in)
	if err != nil {
		return nil, err
	}
	for _, name := range expected {
		if got[name] != "" {
			out.Files = append(out.Files, txtar.File{Name: name, Data: []byte(got[name])})
		}
	}
	return txtar.Format(out), nil
}

// reconcileOnce decides as the engine does, in its order, and returns the expected sections.
func reconcileOnce(in map[string][]byte) (map[string]string, error) {
	rec, err := readRecord(in["record"])
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	obs, listed, err := readObserved(in["observed"], rec)
	if err != nil {
		return nil, fmt.Errorf("observed: %w", err)
	}
	h, err := readHints(in["hints"], rec)
	if err != nil {
		return nil, fmt.Errorf("hints: %w", err)
	}
	before := rec.Clone()
	changed := plan.MarkLosses(rec, &obs)
	learned, alsoChanged := plan.Learn(rec, &obs)
	if err = claims(changed || alsoChanged, before, rec); err != nil {
		return nil, err
	}
	p := plan.Diff(h.input(rec, obs))
	adopted, err := h.adopt(rec, &obs, p.Actions)
	if err != nil {
		return nil, err
	}
	if adopted != "" {
		p = plan.Diff(h.input(rec, obs))
	}
	due, err := h.due(rec, &p)
	if err != nil {
		return nil, err
	}
	unrestored := rec.Clone()
	changed = plan.Restored(rec, &obs, p)
	if err = claims(changed, unrestored, rec); err != nil {
		return nil, err
	}
	if changed {
		more, _ := plan.Learn(rec, &obs)
		learned = append(learned, more...)
	}
	return map[string]string{
		"verdict": string(p.Verdict) + "\n", "findings": findingsText(rec, &p), "warnings": joined(p.Warnings), "actions": actionsText(rec, &p), "due": due,
		"learned": joined(learned), "adopted": adopted, "listed": listed, "record changes": changesText(before, rec),
	}, nil
}

// claims checks reported changes of a record: a record that is not reported as changed is not saved.
func claims(changed bool, before, after *bond.Record) error {
	if differs := changesText(before, after); changed != (differs != "") {
		return fmt.Errorf("it is reported as changed: %t, and what changed is %q", changed, differs)
	}
	return nil
}

// joined are lines of a section; long lists of addresses and routes are cut.
func joined(lines []string) string {
	const most = 300
	var s strings.Builder
	for _, line := range lines {
		if len(line) > most {
			line = line[:most] + "..."
		}
		s.WriteString(line + "\n")
	}
	return s.String()
}

// subjectOf names the subject of a finding or an action.
func subjectOf(rec *bond.Record, member int) string {
	if member == plan.OnBond {
		return "bond"
	}
	return rec.Members[member].Name
}

func findingsText(rec *bond.Record, p *plan.Plan) string {
	var all []string
	for _, f := range p.Findings {
		all = append(all, fmt.Sprintf("%s %s: %s", subjectOf(rec, f.Member), f.Code, f.Text))
	}
	return joined(all)
}

// actionsText names with each action the finding that causes it.
func actionsText(rec *bond.Record, p *plan.Plan) string {
	var all []string
	for i, a := range p.Actions {
		line := fmt.Sprintf("%s: %s%s", subjectOf(rec, a.Subject()), a, details(a))
		for _, f := range p.Findings {
			if cause := p.Cause(i); cause != "" && f.Text == cause {
				line += ", because " + string(f.Code)
				break
			}
		}
		all = append(all, line)
	}
	return joined(all)
}

// details is what an action changes beyond its text.
func details(a plan.Action) string {
	var all []string
	add := func(name string, value any) {
		if text := fmt.Sprint(value); text != "" && text != "0" && text != "false" && !strings.HasPrefix(text, "invalid") {
			all = append(all, name+" "+text)
		}
	}
	switch a := a.(type) {
	case plan.CreateBond:
		add("MAC", a.MAC)
		add("MTU", a.MTU)
	case plan.MoveToPod:
		add("MAC", a.MAC)
		add("MTU", a.MTU)
		add("alias", a.Alias)
		add("ifindex", a.Index)
		add("serial", a.Link.Serial)
	case plan.MoveToHost:
		add("ifindex", a.Index)
		add("serial", a.Link.Serial)
	case plan.Rename:
		add("up:", a.Up)
		add("may be set down:", a.Interrupt)
	case plan.AddAddress:
		add("duplicate address detection", a.DAD)
	case plan.AddRoute:
		add("metric", a.Route.Priority)
		add("MTU", a.Route.MTU)
		add("advertised MSS", a.Route.AdvMSS)
		add("source", a.Route.Src)
	case plan.DeleteRoute:
		add("metric", a.Route.Priority)
		add("MTU", a.Route.MTU)
	}
	if len(all) == 0 {
		return ""
	}
	return " [" + strings.Join(all, ", ") + "]"
}
