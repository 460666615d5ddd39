// Package words checks that identifiers use the field's terms.
package words

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// retired words are not used in the identifiers of programs and test support; the values are what to use instead.
var retired = map[string]string{
	"alone":      "withLock",
	"anew":       "again",
	"answer":     "response or reply",
	"aside":      "quarantine",
	"ask":        "query or request",
	"asked":      "requested",
	"asks":       "queries",
	"attend":     "sync",
	"away":       "missing or unavailable",
	"bears":      "has",
	"befall":     "fault",
	"befalls":    "happens",
	"book":       "record",
	"courtesies": "bestEffort",
	"courtesy":   "bestEffort",
	"deaf":       "unsubscribed or noCarrier",
	"decoy":      "impostor",
	"decoys":     "impostors",
	"dress":      "setAttrs",
	"errand":     "task",
	"errands":    "tasks",
	"gate":       "breaker",
	"hands":      "harness",
	"heal":       "repair or restore",
	"heals":      "repairs",
	"heard":      "received",
	"hub":        "monitor",
	"journal":    "transitionLogger",
	"keep":       "store, record or retain",
	"keeper":     "watcher or maintainer",
	"keeps":      "stores, records or retains",
	"kept":       "stored, recorded or retained",
	"lack":       "missing",
	"lacking":    "missing",
	"lacks":      "isMissing or hasNo",
	"ledger":     "checkpoint",
	"look":       "get, check, search or reconcile",
	"looked":     "checked",
	"lookout":    "search",
	"looks":      "checks",
	"memories":   "states",
	"memory":     "state",
	"mend":       "repair",
	"mended":     "repaired",
	"mischief":   "fault",
	"nobody":     "what is missing",
	"noted":      "recorded",
	"notes":      "changes or entries",
	"ours":       "own",
	"patience":   "timeout or wait",
	"patient":    "limited",
	"person":     "user",
	"recall":     "load",
	"refuse":     "reject",
	"refused":    "rejected",
	"refuses":    "rejects",
	"rig":        "fixture",
	"room":       "package or slots",
	"rooms":      "packages",
	"said":       "reported",
	"say":        "report",
	"says":       "reports",
	"scene":      "fixture",
	"settle":     "plan, mark or debounce",
	"settling":   "restore",
	"somebody":   "the actor",
	"spare":      "temporary or reserve",
	"squatter":   "nameHolder",
	"story":      "scenario",
	"stranger":   "unknownMember",
	"strangers":  "unknownMembers",
	"tell":       "report",
	"tells":      "reports",
	"told":       "reported",
	"trade":      "swap",
	"traded":     "swapped",
	"trades":     "swaps",
	"trouble":    "lastError",
	"turned":     "changed",
	"unsay":      "delete",
	"untold":     "missing",
	"vacate":     "prepareReplace",
	"wanted":     "desired or requested",
	"wants":      "desired or requested",
	"who":        "the actor",
	"whoever":    "the actor",
	"whole":      "complete or restored",
	"whom":       "the actor",
	"whose":      "owner",
	"why":        "reason",
	"wish":       "desired",
	"wishes":     "desired",
	"witness":    "condition",
	"world":      "harness or external",
}

// word matches one word of a camel-case name.
var word = regexp.MustCompile(`[A-Z]+[a-z]*|[a-z]+`)

// skipped are directories in which a retired word has another meaning (a machine's memory), or is still in use.
var skipped = []string{"test/lab", "test/crash"}

func TestIdentifiers(t *testing.T) {
	fset, files := token.NewFileSet(), 0
	for _, dir := range []string{"cmd", "pkg", "test", "docs"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && (d.Name() == "testdata" || slices.Contains(skipped, filepath.ToSlash(strings.TrimPrefix(path, root+"/")))):
				return fs.SkipDir
			case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
				return nil
			}
			file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			files++
			for _, id := range retiredIn(file) {
				t.Errorf("%s: %s", fset.Position(id.Pos()), complaint(id.Name))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 200 {
		t.Fatalf("found %d files only", files)
	}
}

// TestRetired: what the check finds, and what not.
func TestRetired(t *testing.T) {
	const source = `package p
type lookOnce struct{ toldSince, settled int }
func (l *lookOnce) Tell(wish string) (looked bool) { for told := range 3 { heard, ok := told, true; _, _ = heard, ok }; return }
var keeper, accountant int
func report(lookup string) { _ = lookup }
`
	file, err := parser.ParseFile(token.NewFileSet(), "p.go", source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, id := range retiredIn(file) {
		found = append(found, id.Name)
	}
	if want := []string{"lookOnce", "toldSince", "Tell", "wish", "looked", "told", "heard", "keeper"}; !slices.Equal(found, want) {
		t.Errorf("found %q, want %q", found, want)
	}
}

// retiredIn returns the declared identifiers with retired words.
func retiredIn(file *ast.File) []*ast.Ident {
	var found []*ast.Ident
	ast.Inspect(file, func(n ast.Node) bool {
		for _, id := range declared(n) {
			if complaint(id.Name) != "" {
				found = append(found, id)
			}
		}
		return true
	})
	return found
}

// complaint describes the first retired word in a name; empty if there is none.
func complaint(name string) string {
	for _, w := range word.FindAllString(name, -1) {
		if use, is := retired[strings.ToLower(w)]; is {
			return fmt.Sprintf("%s: the word %q is retired, use %s", name, strings.ToLower(w), use)
		}
	}
	return ""
}

// declared returns the names that a node declares.
func declared(n ast.Node) []*ast.Ident {
	switch n := n.(type) {
	case *ast.FuncDecl:
		return []*ast.Ident{n.Name}
	case *ast.TypeSpec:
		return []*ast.Ident{n.Name}
	case *ast.ValueSpec:
		return n.Names
	case *ast.Field:
		return n.Names
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			return nil
		}
		var all []*ast.Ident
		for _, e := range n.Lhs {
			if id, ok := e.(*ast.Ident); ok {
				all = append(all, id)
			}
		}
		return all
	case *ast.RangeStmt:
		var all []*ast.Ident
		for _, e := range []ast.Expr{n.Key, n.Value} {
			if id, ok := e.(*ast.Ident); ok && n.Tok == token.DEFINE {
				all = append(all, id)
			}
		}
		return all
	}
	return nil
}
