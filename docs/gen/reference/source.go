package main

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/types"
	"strings"

	"golang.org/x/tools/go/packages"
)

const module = "github.com/bondkeeper/bondkeeper"

// source is the code of both programs.
type source struct {
	packages []*packages.Package
	// errs are names without a meaning and meanings without a name.
	errs []error
}

// load parses and type-checks the programs, without what only tests use.
func load() (*source, error) {
	const need = packages.NeedName | packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo | packages.NeedImports | packages.NeedFiles
	all, err := packages.Load(&packages.Config{Mode: need}, module+"/cmd/...", module+"/pkg/...")
	if err != nil {
		return nil, err
	}
	s := &source{}
	for _, p := range all {
		for _, e := range p.Errors {
			return nil, fmt.Errorf("%s: %w", p.PkgPath, e)
		}
		if strings.HasSuffix(p.PkgPath, "test") || strings.Contains(p.PkgPath, "test/") {
			continue
		}
		s.packages = append(s.packages, p)
	}
	return s, nil
}

func (s *source) problem(format string, args ...any) {
	s.errs = append(s.errs, fmt.Errorf(format, args...))
}

// functions calls f for each function of the programs.
func (s *source) functions(f func(p *packages.Package, fn *ast.FuncDecl)) {
	for _, p := range s.packages {
		for _, file := range p.Syntax {
			for _, d := range file.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
					f(p, fn)
				}
			}
		}
	}
}

// method is the receiver's type and the name of the method that a call names; empty if it names none.
func method(info *types.Info, call *ast.CallExpr) (receiver, name string) {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	if chosen := info.Selections[sel]; chosen != nil {
		return chosen.Recv().String(), sel.Sel.Name
	}
	return "", ""
}

// function is the full name of the function that a call names; empty if it names none.
func function(info *types.Info, call *ast.CallExpr) string {
	var name *ast.Ident
	switch fun := call.Fun.(type) {
	case *ast.Ident:
		name = fun
	case *ast.SelectorExpr:
		name = fun.Sel
	default:
		return ""
	}
	f, ok := info.Uses[name].(*types.Func)
	if !ok {
		return ""
	}
	return f.FullName()
}

// text is the value of a constant string; ok is false for anything else.
func text(info *types.Info, e ast.Expr) (s string, ok bool) {
	v := info.Types[e].Value
	if v == nil || v.Kind() != constant.String {
		return "", false
	}
	return constant.StringVal(v), true
}
