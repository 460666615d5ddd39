// Package docs checks what the documentation says about the code.
package docs

import (
	"cmp"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

const root = "../.."

var (
	named    = regexp.MustCompile("`((?:Test|Fuzz)[A-Z][A-Za-z0-9_]*)(?:/[^`]*)?`")
	declared = regexp.MustCompile(`(?m)^func (?:\([^)]*\) )?([A-Za-z0-9_]+)\(`)
	assigned = regexp.MustCompile(`(?m)^(?:const |var |\t)([A-Za-z][A-Za-z0-9_]*)(?:, [A-Za-z0-9_]+)*(?: [A-Za-z0-9_.*\[\]]+)? += `)
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading  = regexp.MustCompile(`(?m)^#+ (.*)$`)
	target   = regexp.MustCompile(`(?m)^([a-z][a-z0-9/-]*):.*## `)
	paths    = regexp.MustCompile("`((?:pkg|cmd|test|docs|manifests)/[A-Za-z0-9_./-]+)`")
	function = regexp.MustCompile("`([a-z]+[A-Z][A-Za-z]*|[A-Z][a-z]+[A-Z][A-Za-z]*)`")
	quoted   = regexp.MustCompile("`([^`]+)`")
	fenced   = regexp.MustCompile("(?ms)^```.*?^```$")
)

// pages are the documents by path.
func pages(t *testing.T) map[string]string {
	t.Helper()
	list, err := Pages(root)
	kit.Must(t, err)
	all := map[string]string{}
	for _, p := range list {
		all[p.Path] = p.Text
	}
	return all
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	kit.Must(t, err)
	return string(text)
}

// functions are the names of all functions, methods, constants and variables of the tree, behind whatever build tag.
func functions(t *testing.T) map[string]bool {
	t.Helper()
	all, err := allFunctions()
	kit.Must(t, err)
	return all
}

// allFunctions reads the tree once.
var allFunctions = sync.OnceValues(func() (map[string]bool, error) {
	all := map[string]bool{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && file != root:
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(file, ".go"):
			return nil
		}
		text, err := os.ReadFile(file)
		for line := range strings.Lines(string(text)) {
			var m []string
			switch {
			case strings.HasPrefix(line, "func "):
				m = declared.FindStringSubmatch(line)
			case strings.Contains(line, " = "):
				m = assigned.FindStringSubmatch(line)
			}
			if m != nil {
				all[m[1]] = true
			}
		}
		return err
	})
	return all, err
})

// TestNamedTestsExist: each test that a page names as proof exists, behind whatever build tag.
func TestNamedTestsExist(t *testing.T) {
	exists, scenarios := functions(t), source(t, "pkg/cni/cnitest")
	for page, text := range pages(t) {
		names := named.FindAllStringSubmatch(text, -1)
		if len(names) == 0 && strings.HasSuffix(page, "SECURITY.md") {
			t.Error("SECURITY.md names no test")
		}
		for _, m := range names {
			if !exists[m[1]] {
				t.Errorf("%s names %s, which does not exist", page, m[1])
			}
			if scenario, is := strings.CutPrefix(m[0], "`TestScenarios/"); is && !strings.Contains(scenarios, `{"`+strings.TrimSuffix(scenario, "`")+`", `) {
				t.Errorf("%s names %s, which does not exist", page, m[0])
			}
		}
	}
}

// TestLinksLeadSomewhere: each relative link of a page leads to a file, and its fragment to a heading.
func TestLinksLeadSomewhere(t *testing.T) {
	all, headings := pages(t), map[string]map[string]bool{}
	for page, text := range all {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			path, fragment, _ := strings.Cut(m[1], "#")
			file := page
			if path != "" {
				file = filepath.Join(filepath.Dir(page), path)
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s: link %s: %v", page, m[1], err)
			}
			if headings[file] == nil {
				headings[file] = fragments(all[file])
			}
			if fragment != "" && !headings[file][fragment] {
				t.Errorf("%s: link %s: no such heading", page, m[1])
			}
		}
	}
}

var punctuation = regexp.MustCompile("[^a-z0-9 _-]")

// fragments are those of a page's headings, as GitHub makes them: lower case, dashes for spaces, without punctuation.
func fragments(text string) map[string]bool {
	all := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		all[strings.ReplaceAll(punctuation.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
	}
	return all
}

// TestRecipesAreCurrent: the paths and functions that the page for developers names exist.
func TestRecipesAreCurrent(t *testing.T) {
	text := read(t, filepath.Join(root, "docs/development.md"))
	for _, m := range paths.FindAllStringSubmatch(text, -1) {
		if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
			t.Errorf("docs/development.md: %v", err)
		}
	}
	known := functions(t)
	for _, m := range function.FindAllStringSubmatch(text, -1) {
		if !known[m[1]] {
			t.Errorf("docs/development.md names %s, which is not declared", m[1])
		}
	}
}

// TestReasonsAreCurrent: the texts by which the page for operators finds a reason are those of the code.
func TestReasonsAreCurrent(t *testing.T) {
	_, table, found := strings.Cut(read(t, filepath.Join(root, "docs/operations.md")), "## Manual recovery")
	if !found {
		t.Fatal("docs/operations.md has no section on manual recovery")
	}
	table, _, _ = strings.Cut(table, "\n## ")
	code := production(t)
	rows := 0
	for _, row := range strings.Split(table, "\n") {
		if !strings.HasPrefix(row, "| `") {
			continue
		}
		rows++
		for _, m := range quoted.FindAllStringSubmatch(strings.Split(row, " | ")[0], -1) {
			text := strings.TrimSpace(strings.TrimSuffix(m[1], "…"))
			if !strings.Contains(code, text) {
				t.Errorf("docs/operations.md has the reason %q, which is not in the code", text)
			}
		}
	}
	if rows < 10 {
		t.Errorf("found %d rows only", rows)
	}
}

// production is the source of the programs.
func production(t *testing.T) string { return source(t, "pkg") }

// source is the source in a directory, without tests.
func source(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(filepath.Join(root, dir), func(file string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(file, ".go") && !strings.HasSuffix(file, "_test.go") {
			all.WriteString(read(t, file))
		}
		return err
	})
	kit.Must(t, err)
	return all.String()
}

// TestHelpNamesEveryTarget: make help prints each target that has a description.
func TestHelpNamesEveryTarget(t *testing.T) {
	help, err := exec.CommandContext(t.Context(), "make", "-s", "-C", root, "help").Output()
	kit.Must(t, err)
	described := target.FindAllStringSubmatch(read(t, filepath.Join(root, "Makefile")), -1)
	if len(described) < 20 {
		t.Fatalf("found %d targets only", len(described))
	}
	for _, m := range described {
		if !strings.Contains("\n"+string(help), "\n"+m[1]+" ") {
			t.Errorf("make help does not print %s", m[1])
		}
	}
}

// TestLanesHaveEveryPackage: the Makefile names each package with tests behind the build tag of a lane. The tests of
// another one would never run.
func TestLanesHaveEveryPackage(t *testing.T) {
	makefile := read(t, filepath.Join(root, "Makefile"))
	for tag, variable := range map[string]string{"lab": "LAB_PKGS", "kube": "KUBE_PKGS"} {
		list := regexp.MustCompile(`(?m)^` + variable + ` \?= (.*)$`).FindStringSubmatch(makefile)
		if list == nil {
			t.Fatalf("the Makefile has no %s", variable)
		}
		found := 0
		kit.Must(t, filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() && d.Name() == ".cache" {
				return cmp.Or(err, filepath.SkipDir)
			}
			if d.IsDir() || !strings.HasSuffix(file, "_test.go") || !strings.HasPrefix(read(t, file), "//go:build "+tag+"\n") {
				return nil
			}
			found++
			dir, err := filepath.Rel(root, filepath.Dir(file))
			inList := func(pattern string) bool {
				prefix, all := strings.CutSuffix(pattern, "/...")
				return pattern == "./"+dir || all && strings.HasPrefix("./"+dir+"/", prefix+"/")
			}
			if !slices.ContainsFunc(strings.Fields(list[1]), inList) {
				t.Errorf("%s of the Makefile does not have the package of %s", variable, file)
			}
			return err
		}))
		if found == 0 {
			t.Errorf("no test has the build tag %s", tag)
		}
	}
}
