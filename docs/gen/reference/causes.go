package main

import (
	"fmt"
	"go/ast"
	"go/types"
	"io"
	"strings"

	"github.com/bondkeeper/bondkeeper/pkg/plan"
)

// causes are the codes of findings, in the order of the code.
func (s *source) causes() (all []string) {
	for _, p := range s.packages {
		if p.PkgPath != module+"/pkg/plan" {
			continue
		}
		for _, file := range p.Syntax {
			ast.Inspect(file, func(n ast.Node) bool {
				spec, ok := n.(*ast.ValueSpec)
				if !ok {
					return true
				}
				for i, name := range spec.Names {
					c, isConst := p.TypesInfo.Defs[name].(*types.Const)
					if !isConst || c.Type().String() != p.PkgPath+".Code" || i >= len(spec.Values) {
						continue
					}
					if value, ok := text(p.TypesInfo, spec.Values[i]); ok {
						all = append(all, value)
					}
				}
				return true
			})
		}
	}
	return all
}

func (s *source) writeCauses(w io.Writer) {
	for _, cause := range s.causes() {
		a := plan.Code(cause).Advice()
		if a.Meaning == "" || a.Action == "" {
			s.problem("the cause %s is not explained in pkg/plan/advice.go", cause)
		}
		fmt.Fprintf(w, "| [`%s`](runbook.md#%s) | %s | %s |\n", cause, strings.ToLower(cause), cell(a.Meaning), cell(a.Action))
	}
}
