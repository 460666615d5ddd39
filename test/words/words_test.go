// Package words checks that identifiers and comments use the field's terms.
package words

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// retired words are not used in the identifiers of programs, test support and tests; the values are what to use instead.
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
	"stories":    "scenarios",
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

// retiredInComments are words and phrases that comments do not use, with what to use instead.
var retiredInComments = map[string]string{
	"a person":       "the user or the administrator",
	"anew":           "again, or recreate",
	"bears":          "has",
	"befall":         "happen to",
	"befalls":        "happens to",
	"decoy":          "impostor",
	"is no error":    "is not an error",
	"nobody":         "the actor that does not",
	"somebody":       "the actor",
	"squatter":       "name holder",
	"tell of":        "report",
	"tells":          "reports",
	"told":           "reported or informed",
	"untold":         "missing",
	"who asks":       "the caller",
	"whoever":        "the actor",
	"whom":           "the actor",
	"without a word": "silently",
}

// otherMeaning has the directories in which a retired word has another meaning.
var otherMeaning = map[string]string{
	"memory": "test/lab", // of the machine
}

// plainInTests are retired words that the names of Test functions may have, because these are sentences. They are
// retired in all other identifiers of tests.
var plainInTests = map[string]bool{
	"alone": true, // what is left alone is not changed
	"away":  true, // absent
	"gate":  true, // a pod's readiness gate
	"heals": true, // TestHeals, which the Makefile, scripts and docs run by its name
}

func TestIdentifiers(t *testing.T) {
	all := func(string) bool { return true }
	eachFile(t, 400, all, func(fset *token.FileSet, path string, file *ast.File) {
		for _, id := range retiredIn(file, path) {
			t.Errorf("%s: %s", fset.Position(id.Pos()), complaint(id.Name, path))
		}
	})
}

func TestComments(t *testing.T) {
	self := func(path string) bool { return strings.HasPrefix(path, "test/words/") }
	eachFile(t, 400, func(path string) bool { return !self(path) }, func(fset *token.FileSet, _ string, file *ast.File) {
		for _, group := range file.Comments {
			if found := retiredPhrase(group.Text()); found != "" {
				t.Errorf("%s: %q is retired in comments, use %s", fset.Position(group.Pos()), found, retiredInComments[found])
			}
		}
	})
}

// eachFile calls check with each source file that is selected, by its path in the repository. There must be at least
// min.
func eachFile(t *testing.T, min int, selected func(path string) bool, check func(*token.FileSet, string, *ast.File)) {
	t.Helper()
	fset, files := token.NewFileSet(), 0
	for _, dir := range []string{"cmd", "pkg", "test", "docs"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			name := filepath.ToSlash(strings.TrimPrefix(path, root+"/"))
			switch {
			case err != nil:
				return err
			case d.IsDir() && d.Name() == "testdata":
				return fs.SkipDir
			case d.IsDir() || !strings.HasSuffix(name, ".go") || !selected(name):
				return nil
			}
			file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution|parser.ParseComments)
			if err != nil {
				return err
			}
			files++
			check(fset, name, file)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < min {
		t.Fatalf("found %d files only", files)
	}
}

// TestRetiredInComments: what the check of comments finds, across line breaks, and what not.
func TestRetiredInComments(t *testing.T) {
	for text, want := range map[string]string{
		"It is made anew.":                      "anew",
		"The kernel ignores it without\na word": "without a word",
		"Whoever holds the lock":                "whoever",
		"the user who packed them":              "",
		"toldSince, tellsig, anewer":            "",
	} {
		if got := retiredPhrase(text); got != want {
			t.Errorf("%q: found %q, want %q", text, got, want)
		}
	}
}

// retiredPhrase returns the first retired word or phrase in a comment; empty if there is none.
func retiredPhrase(comment string) string {
	text := " " + strings.Join(commentWord.FindAllString(strings.ToLower(comment), -1), " ") + " "
	for _, phrase := range slices.Sorted(maps.Keys(retiredInComments)) {
		if strings.Contains(text, " "+phrase+" ") {
			return phrase
		}
	}
	return ""
}

// commentWord matches one word of a comment; names with capitals and digits are one word each.
var commentWord = regexp.MustCompile(`[\pL\pN_'-]+`)

// TestRetired: what the check finds, and what not.
func TestRetired(t *testing.T) {
	const source = `package p
type lookOnce struct{ toldSince, settled int }
func (l *lookOnce) Tell(wish string) (looked bool) { for told := range 3 { heard, ok := told, true; _, _ = heard, ok }; return }
var keeper, accountant int
func report(lookup string) { _ = lookup }
func TestTheBondIsLeftAlone() {}
`
	file, err := parser.ParseFile(token.NewFileSet(), "p.go", source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	inBoth := []string{"lookOnce", "toldSince", "Tell", "wish", "looked", "told", "heard", "keeper"}
	for path, want := range map[string][]string{"p_test.go": inBoth, "p.go": append(inBoth, "TestTheBondIsLeftAlone")} {
		var found []string
		for _, id := range retiredIn(file, path) {
			found = append(found, id.Name)
		}
		if !slices.Equal(found, want) {
			t.Errorf("%s: found %q, want %q", path, found, want)
		}
	}
}

// retiredIn returns the declared identifiers with retired words.
func retiredIn(file *ast.File, path string) []*ast.Ident {
	var found []*ast.Ident
	ast.Inspect(file, func(n ast.Node) bool {
		for _, id := range declared(n) {
			if complaint(id.Name, path) != "" {
				found = append(found, id)
			}
		}
		return true
	})
	return found
}

// complaint describes the first retired word in a name; empty if there is none.
func complaint(name, path string) string {
	for _, w := range word.FindAllString(name, -1) {
		w = strings.ToLower(w)
		if dir, other := otherMeaning[w]; other && strings.HasPrefix(path, dir+"/") {
			continue
		}
		if plainInTests[w] && strings.HasPrefix(name, "Test") && strings.HasSuffix(path, "_test.go") {
			continue
		}
		if use, is := retired[w]; is {
			return fmt.Sprintf("%s: the word %q is retired, use %s", name, w, use)
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
