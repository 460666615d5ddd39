package plan

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"testing"
)

// TestActionNames: the list of actions has each type of action.go that embeds MemberIndex.
func TestActionNames(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "action.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var declared []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if body, ok := spec.Type.(*ast.StructType); ok {
			for _, f := range body.Fields.List {
				if id, ok := f.Type.(*ast.Ident); ok && len(f.Names) == 0 && id.Name == "MemberIndex" {
					declared = append(declared, spec.Name.Name)
				}
			}
		}
		return true
	})
	slices.Sort(declared)
	if names := ActionNames(); !slices.Equal(names, declared) || len(names) == 0 {
		t.Errorf("actions are %q, the list has %q", declared, names)
	}
}
