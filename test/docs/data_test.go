package docs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// languages are those of blocks. Those that are not checked here are outputs, drawings, and queries of a test
// elsewhere.
var languages = []string{"", "sh", "console", "json", "yaml", "text", "promql"}

// TestBlocks: each block has a known language, and those of data can be decoded.
func TestBlocks(t *testing.T) {
	list, err := Pages(root)
	kit.Must(t, err)
	found := map[string]int{}
	for _, p := range list {
		for _, b := range p.Blocks() {
			if !slices.Contains(languages, b.Lang) {
				t.Errorf("%s: the language %q is not one of %q", b, b.Lang, languages)
			}
			if err := b.Validate(); err != nil {
				t.Error(err)
			}
			found[b.Lang]++
		}
	}
	if found["sh"] == 0 || found["json"] == 0 || found["yaml"] == 0 || found["text"] == 0 {
		t.Errorf("found %v only", found)
	}
}

// TestBadBlocks: what a reader would fail with is found.
func TestBadBlocks(t *testing.T) {
	example, err := os.ReadFile(filepath.Join(root, "manifests/examples/bond-net1.yaml"))
	kit.Must(t, err)
	good := string(example)
	for _, b := range []Block{
		{Lang: "json", Text: `[{"version":"v1","sate":"Ready"}]`},
		{Lang: "json", Text: `{"type":"bond","cniVersion":"0.3.1","name":"n","mode":"fast","links":[{"name":"a"},{"name":"b"}]}`},
		{Lang: "json", Text: `{"name":"n","cniVersion":"0.3.1","plugins":[{"type":"bond","mode":"fast","links":[{"name":"a"},{"name":"b"}]}]}`},
		{Lang: "json", Text: `{"type":"bond",}`},
		{Lang: "yaml", Text: "apiVersion: v1\nkind: Pod\nspec: {readinessGate: []}\n"},
		{Lang: "yaml", Text: "apiVersion: v1\nkind: Pod\nkind: Pod\n"},
		{Lang: "yaml", Text: "spec: {readinessGates: [{type: x}]}\n"},
		{Lang: "yaml", Text: strings.Replace(good, `"miimon": "100"`, `"miimon": "soon"`, 1)},
	} {
		if b.Validate() == nil {
			t.Errorf("nothing is wrong with\n%s", b.Text)
		}
	}
	if err := (Block{Lang: "yaml", Text: good}).Validate(); err != nil {
		t.Error(err)
	}
}

// TestBadCommands: commands that a reader could not use are found.
func TestBadCommands(t *testing.T) {
	tr := newTree(t)
	for _, line := range []string{
		"make nonsense", "make image IMAEG=x", "make -f", "go tset ./pkg/plan", "go test ./pkg/nonsense", "go test -run TestNonsense ./pkg/plan",
		"bin/lab tset ./pkg/link", "bin/lab test ./pkg/nonsense", "cd manifests/nonsense", "kubectl aply -k manifests/base", "kubectl apply -k manifests/nonsense",
		"kubectl exec ds/bondkeeper-agent", "kustomize edit set image bondkeeper=x",
	} {
		commands, err := parse(line)
		if err != nil || len(commands) != 1 || checked[commands[0].Words[0]](tr, commands[0]) == nil {
			t.Errorf("nothing is wrong with %s (%v)", line, err)
		}
	}
}

// TestParse: lines are read as the shell reads them.
func TestParse(t *testing.T) {
	for line, want := range map[string]string{
		"make demo   # in ten minutes":                      "make demo",
		"kubectl bonds -A | head -n 3":                      "kubectl-bonds -A; head -n 3",
		"FUZZTIME=1s make fuzz FUZZ='A|B' 2>&1 >out.txt":    "make fuzz FUZZ=A|B",
		"kubectl -n x exec ds/y -- /agent status --pod a/b": "kubectl -n x exec ds/y -- /agent status --pod a/b; agent status --pod a/b",
		"bin/agent sysdump > dump.tar.gz && ls dump*":       "agent sysdump; ls dump*",
		`a "b c" d\ e 'f"g'h`:                               `a b c d e f"gh`,
		"make soak STEPS='…' … and more":                    "make soak STEPS=…",
		"# nothing":                                         "",
	} {
		commands, err := parse(line)
		var got []string
		for _, c := range commands {
			got = append(got, strings.Join(c.Words, " "))
		}
		if err != nil || strings.Join(got, "; ") != want {
			t.Errorf("%s: %q, want %q (%v)", line, got, want, err)
		}
	}
}

// TestSplit: blocks are found, with their lines, and items of lists are none.
func TestSplit(t *testing.T) {
	p := Page{"p", "a `b\nc`\n\n```sh\nmake x\n```\n\n- item\n\n    still the item `d`\n\nprose\n\n    make y\n    make z\n\n1. one\n    more\n"}
	var got []string
	for _, b := range p.Blocks() {
		got = append(got, b.String()+" "+b.Lang+" "+b.Text)
	}
	if want := []string{"p:5 sh make x\n", "p:14  make y\nmake z\n"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if want := []Span{{1, "b c"}, {10, "d"}}; !slices.Equal(p.Spans(), want) {
		t.Errorf("%v, want %v", p.Spans(), want)
	}
}
