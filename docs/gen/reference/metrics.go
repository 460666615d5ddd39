package main

import (
	"fmt"
	"go/ast"
	"go/types"
	"io"
	"maps"
	"slices"
	"strings"

	"golang.org/x/tools/go/packages"
)

// metric is one of the metrics with the prefix of the project.
type metric struct{ name, help, labels, kind string }

const prefix = "bondkeeper_"

// metrics are the literals with a name that has the prefix, followed by the help text; and the labels given with them.
func (s *source) metrics() map[string]metric {
	all := map[string]metric{}
	s.functions(func(p *packages.Package, fn *ast.FuncDecl) {
		info := p.TypesInfo
		ast.Inspect(fn, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr: // NewCounterVec(opts, labels)
				if len(n.Args) == 2 {
					opts, isOpts := n.Args[0].(*ast.CompositeLit)
					labels, isLabels := n.Args[1].(*ast.CompositeLit)
					if isOpts && isLabels {
						add(all, info, opts, texts(info, labels))
					}
				}
			case *ast.CompositeLit:
				add(all, info, n, nil)
			}
			return true
		})
	})
	return all
}

func add(all map[string]metric, info *types.Info, lit *ast.CompositeLit, labels []string) {
	found := texts(info, lit)
	if len(found) < 2 || !strings.HasPrefix(found[0], prefix) {
		return
	}
	for _, e := range lit.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			if constant, ok := kv.Value.(*ast.CompositeLit); ok { // ConstLabels
				for _, label := range constant.Elts {
					if name, ok := text(info, label.(*ast.KeyValueExpr).Key); ok {
						labels = append(labels, name)
					}
				}
			}
		}
	}
	m := metric{name: found[0], help: found[1], labels: strings.Join(labels, ", "), kind: "gauge"}
	switch {
	case strings.HasSuffix(info.TypeOf(lit).String(), ".HistogramOpts"):
		m.kind = "histogram"
	case strings.HasSuffix(m.name, "_total"):
		m.kind = "counter"
	}
	if old, ok := all[m.name]; ok && m.labels == "" {
		m.labels = old.labels
	}
	all[m.name] = m
}

// texts are the constant strings among the elements of a literal.
func texts(info *types.Info, lit *ast.CompositeLit) (all []string) {
	for _, e := range lit.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			e = kv.Value
		}
		if s, ok := text(info, e); ok {
			all = append(all, s)
		}
	}
	return all
}

func (s *source) writeMetrics(w io.Writer) {
	byName := s.metrics()
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		m := byName[name]
		if m.labels != "" {
			name += "{" + m.labels + "}"
		}
		fmt.Fprintf(w, "| `%s` | %s | %s |\n", name, m.kind, cell(m.help))
	}
}
