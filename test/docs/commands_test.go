package docs

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// Programs whose commands are checked here or, those of this project, beside their command trees.
var checked = map[string]func(*tree, Command) error{
	"make": (*tree).make, "go": (*tree).goTest, "bin/lab": (*tree).lab, "cd": (*tree).cd, "kubectl": (*tree).kubectl, "kustomize": (*tree).kustomize,
	"agent": nil, "kubectl-bonds": nil, "bin/bond": nil,
}

// foreign are programs of others. Of their commands the shell's syntax is checked, and harmless ones are run
// (TestForeignCommandsRun).
var foreign = strings.Fields("bridge cat cp crictl ctr curl dmesg docker ethtool findmnt git grep gzip head ip jq journalctl ls lsns lspci mkdir mv nsenter promtool rdma rm " +
	"sha256sum skopeo sudo systemctl tar tc tcpdump")

// tree is what commands name.
type tree struct {
	makefile          string
	scripts           string // that the Makefile calls
	targets, declared map[string]bool
}

func newTree(t *testing.T) *tree {
	tr := &tree{makefile: read(t, filepath.Join(root, "Makefile")), targets: map[string]bool{}, declared: functions(t)}
	for _, m := range target.FindAllStringSubmatch(tr.makefile, -1) {
		tr.targets[m[1]] = true
	}
	scripts, err := filepath.Glob(filepath.Join(root, "test", "*.sh"))
	kit.Must(t, err)
	for _, s := range scripts {
		tr.scripts += read(t, s)
	}
	return tr
}

// TestCommands: every command in the documents is one of a known program, and names only targets, variables, packages,
// tests, files and objects that exist. The flags of this project's programs are checked in their own packages.
func TestCommands(t *testing.T) {
	list, err := Pages(root)
	kit.Must(t, err)
	tr := newTree(t)
	found := map[string]int{}
	for _, p := range list {
		commands, errs := p.Commands()
		for _, c := range commands {
			check, known := checked[c.Words[0]]
			if !known && !slices.Contains(foreign, c.Words[0]) {
				errs = append(errs, fmt.Errorf("%s: unknown program", c))
			}
			found[c.Words[0]]++
			if check != nil {
				errs = append(errs, check(tr, c))
			}
		}
		for _, err := range errs {
			if err != nil {
				t.Error(err)
			}
		}
	}
	for _, name := range []string{"make", "go", "kubectl", "agent", "kubectl-bonds"} {
		if found[name] == 0 {
			t.Errorf("no command of %s found in %v", name, slices.Sorted(maps.Keys(found)))
		}
	}
}

// TestShellSyntax: bash reads every block of commands.
func TestShellSyntax(t *testing.T) {
	list, err := Pages(root)
	kit.Must(t, err)
	for _, p := range list {
		for _, b := range p.Blocks() {
			if b.Lang != "" && b.Lang != "sh" {
				continue
			}
			bash := exec.CommandContext(t.Context(), "bash", "-n")
			bash.Stdin = strings.NewReader(b.Text)
			if out, err := bash.CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", b, err, out)
			}
		}
	}
}

var assignedVar = regexp.MustCompile(`^([A-Z_]+)=`)

// make checks the targets and the variables. In a block it also lets make plan them, which finds prerequisites that do
// not exist.
func (tr *tree) make(c Command) error {
	for _, w := range slices.Concat(c.Words[1:], c.Assigned) {
		if m := assignedVar.FindStringSubmatch(w); m != nil {
			if !regexp.MustCompile(`\b` + m[1] + `\b`).MatchString(tr.makefile + tr.scripts) {
				return fmt.Errorf("%s: the Makefile has no variable %s", c, m[1])
			}
		} else if !tr.targets[w] && !strings.HasPrefix(w, "bin/") {
			return fmt.Errorf("%s: make help does not list %s", c, w)
		}
	}
	if c.Inline {
		return nil
	}
	if out, err := exec.Command("make", append([]string{"-n", "-C", root}, c.Words[1:]...)...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", c, err, out)
	}
	return nil
}

var testName = regexp.MustCompile(`^(Test|Fuzz|Benchmark)[A-Za-z0-9_]+`)

// goTest checks the packages and the tests of go test; bin/lab test has the same flags.
func (tr *tree) goTest(c Command) error {
	if c.Words[1] != "test" && c.Words[1] != "run" && c.Words[1] != "build" && c.Words[1] != "version" {
		return fmt.Errorf("%s: want go test, run, build or version", c)
	}
	for i, w := range c.Words {
		if dir, is := strings.CutPrefix(w, "./"); is {
			if _, err := os.Stat(filepath.Join(root, strings.TrimSuffix(dir, "/..."))); err != nil {
				return fmt.Errorf("%s: %w", c, err)
			}
		}
		if w != "-run" || i+1 == len(c.Words) {
			continue
		}
		for name := range strings.SplitSeq(c.Words[i+1], "|") {
			if m := testName.FindString(name); !tr.isTest(m) {
				return fmt.Errorf("%s: no test has a name like %s", c, name)
			}
		}
	}
	return nil
}

// isTest reports whether a test's name begins so.
func (tr *tree) isTest(prefix string) bool {
	if prefix == "" {
		return true // it is part of a name
	}
	for name := range tr.declared {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

func (tr *tree) lab(c Command) error {
	if !slices.Contains([]string{"test", "run", "shell"}, c.Words[1]) {
		return fmt.Errorf("%s: want bin/lab test, run or shell", c)
	}
	return tr.goTest(Command{Page: c.Page, Line: c.Line, Words: append([]string{"go", "test"}, c.Words[2:]...)})
}

func (tr *tree) cd(c Command) error {
	if len(c.Words) != 2 {
		return fmt.Errorf("%s: want one directory", c)
	}
	_, err := os.Stat(filepath.Join(root, c.Dir, c.Words[1]))
	return err
}

// kubectl checks the verb, and files and objects that are part of the manifests.
func (tr *tree) kubectl(c Command) error {
	words := c.Words[1:]
	for len(words) > 1 && (words[0] == "-n" || words[0] == "--context") {
		words = words[2:]
	}
	if len(words) == 0 || !slices.Contains(strings.Fields("apply auth create delete describe diff edit exec get krew label logs patch rollout wait"), words[0]) {
		return fmt.Errorf("%s: unknown verb", c)
	}
	for i, w := range words {
		if (w == "-k" || w == "-f") && i+1 < len(words) && words[0] != "logs" && !strings.Contains(words[i+1], "://") {
			if err := hasManifest(filepath.Join(root, c.Dir, words[i+1]), w); err != nil {
				return fmt.Errorf("%s: %w", c, err)
			}
		}
		if kind, name, is := strings.Cut(w, "/"); is && (kind == "ds" || kind == "daemonset") {
			if !slices.Contains(c.Words, "bondkeeper") || name != "bondkeeper-agent" {
				return fmt.Errorf("%s: want the DaemonSet bondkeeper-agent in the namespace bondkeeper", c)
			}
		}
	}
	return nil
}

func hasManifest(path, flag string) error {
	if flag == "-k" {
		path = filepath.Join(path, "kustomization.yaml")
	}
	if strings.HasPrefix(filepath.Base(path), "bondkeeper-") {
		return nil // of a release
	}
	_, err := os.Stat(path)
	return err
}

// kustomize checks the name of an image.
func (tr *tree) kustomize(c Command) error {
	if len(c.Words) == 5 && slices.Equal(c.Words[1:4], []string{"edit", "set", "image"}) {
		name, _, _ := strings.Cut(c.Words[4], "=")
		manifest, err := os.ReadFile(filepath.Join(root, "manifests/base/daemonset.yaml"))
		if err == nil && !strings.Contains(string(manifest), "image: "+name+":") {
			err = fmt.Errorf("%s: the DaemonSet has no image %s", c, name)
		}
		return err
	}
	return fmt.Errorf("%s: want kustomize edit set image", c)
}

var (
	longFlag  = regexp.MustCompile(`^--[a-z][a-z-]*`)
	listsFlag = regexp.MustCompile("(?m)^\\| `(--[a-z-]+)`")
)

// TestFlagsExist: a flag named by itself is one of the agent's. One of another program is part of its command.
func TestFlagsExist(t *testing.T) {
	exists := map[string]bool{}
	for _, m := range listsFlag.FindAllStringSubmatch(read(t, filepath.Join(root, "docs/reference.md")), -1) {
		exists[m[1]] = true
	}
	list, err := Pages(root)
	kit.Must(t, err)
	found := 0
	for _, p := range list {
		for _, s := range p.Spans() {
			name := longFlag.FindString(s.Text)
			if name != "" {
				found++
			}
			if name != "" && !exists[name] {
				t.Errorf("%s:%d: the agent has no flag %s", p.Path, s.Line, name)
			}
		}
	}
	if found < 20 || len(exists) < 20 {
		t.Errorf("found %d flags of %d", found, len(exists))
	}
}
