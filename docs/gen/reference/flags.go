package main

import (
	"fmt"
	"go/ast"
	"go/types"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/tools/go/packages"
)

// aFlag is one flag of a command.
type aFlag struct{ name, value, usage string }

// flags are those of each function that defines some, with those of the functions that it passes its flag set to; and
// the command of each function that creates a flag set.
func (s *source) flags() (byCommand map[string][]aFlag) {
	defined, command := map[string][]aFlag{}, map[string]string{}
	passed := map[string][]string{}
	s.functions(func(p *packages.Package, fn *ast.FuncDecl) {
		self := p.TypesInfo.Defs[fn.Name].(*types.Func).FullName()
		ast.Inspect(fn, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if receiver, kind := method(p.TypesInfo, call); receiver == "*flag.FlagSet" {
				if f, ok := flagOf(p.TypesInfo, call, kind); ok {
					defined[self] = append(defined[self], f)
				}
				return true
			}
			called := function(p.TypesInfo, call)
			if name, ok := firstText(p.TypesInfo, call); ok && called == "flag.NewFlagSet" {
				command[self] = name
			} else if strings.HasPrefix(called, module) {
				passed[self] = append(passed[self], called)
			}
			return true
		})
	})
	byCommand = map[string][]aFlag{}
	for fn, name := range command {
		all := defined[fn]
		for _, called := range passed[fn] {
			if _, own := command[called]; !own {
				all = append(all, defined[called]...)
			}
		}
		byCommand[name] = all
	}
	return byCommand
}

func firstText(info *types.Info, call *ast.CallExpr) (string, bool) {
	if len(call.Args) == 0 {
		return "", false
	}
	return text(info, call.Args[0])
}

// flagOf reads the definition of a flag: the last three arguments of String, StringVar and the like.
func flagOf(info *types.Info, call *ast.CallExpr, kind string) (aFlag, bool) {
	kind = strings.TrimSuffix(kind, "Var")
	if !slices.Contains([]string{"String", "Bool", "Int", "Duration"}, kind) || len(call.Args) < 3 {
		return aFlag{}, false
	}
	args := call.Args[len(call.Args)-3:]
	name, named := text(info, args[0])
	usage, _ := text(info, args[2])
	f := aFlag{name: name, usage: usage}
	if v := info.Types[args[1]].Value; v != nil {
		f.value = v.ExactString()
		if s, ok := text(info, args[1]); ok {
			f.value = s
		}
		var n int64
		if _, err := fmt.Sscan(f.value, &n); err == nil && kind == "Duration" {
			f.value = time.Duration(n).String()
		}
		if f.value == "0" || f.value == "0s" {
			f.value = "" // the usage names the default
		}
	}
	return f, named
}

func (s *source) writeFlags(w io.Writer) {
	byCommand := s.flags()
	names := slices.Sorted(maps.Keys(byCommand))
	slices.SortStableFunc(names, func(a, b string) int { // the agent itself comes first
		return strings.Compare(strings.ReplaceAll(a, "agent run", ""), strings.ReplaceAll(b, "agent run", ""))
	})
	for _, name := range names {
		if len(byCommand[name]) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n### `%s`\n\n| flag | default | meaning |\n|---|---|---|\n", name)
		for _, f := range byCommand[name] {
			fmt.Fprintf(w, "| `-%s` | %s | %s |\n", f.name, code(f.value), cell(f.usage))
		}
	}
}
