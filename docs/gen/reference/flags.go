package main

import (
	"fmt"
	"go/ast"
	"go/types"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/tools/go/packages"
)

// aFlag is one flag of a command.
type aFlag struct{ name, shorthand, kind, value, usage string }

// namesDefault finds, in the description of a flag, the default that the table does not have.
var namesDefault = regexp.MustCompile(`(?:means|otherwise|without) \S|required$`)

// flags are those of each command of the agent: of the function with the command's literal, and of the functions that
// it calls, unless they have a command of their own.
func (s *source) flags() (byCommand map[string][]aFlag) {
	defined, command := map[string][]aFlag{}, map[string]string{}
	called := map[string][]string{}
	s.functions(func(p *packages.Package, fn *ast.FuncDecl) {
		self := p.TypesInfo.Defs[fn.Name].(*types.Func).FullName()
		ast.Inspect(fn, func(n ast.Node) bool {
			if name, ok := commandName(p.TypesInfo, n); ok && p.PkgPath == module+"/cmd/agent" {
				command[self] = name
			}
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if receiver, kind := method(p.TypesInfo, call); receiver == "*github.com/spf13/pflag.FlagSet" {
				if f, ok := flagOf(p.TypesInfo, call, kind); ok {
					defined[self] = append(defined[self], f)
				}
			} else if name := function(p.TypesInfo, call); strings.HasPrefix(name, module) {
				called[self] = append(called[self], name)
			}
			return true
		})
	})
	byCommand = map[string][]aFlag{}
	for fn, name := range command {
		byCommand["agent "+name] = flagsFrom(fn, defined, called, command, map[string]bool{})
	}
	return byCommand
}

func flagsFrom(fn string, defined map[string][]aFlag, called map[string][]string, command map[string]string, seen map[string]bool) []aFlag {
	seen[fn] = true
	all := slices.Clone(defined[fn]) // of the same function for several commands
	for _, next := range called[fn] {
		if _, own := command[next]; !own && !seen[next] {
			all = append(all, flagsFrom(next, defined, called, command, seen)...)
		}
	}
	return all
}

// commandName is the name in the literal of a command.
func commandName(info *types.Info, n ast.Node) (name string, ok bool) {
	literal, isLiteral := n.(*ast.CompositeLit)
	if !isLiteral || info.TypeOf(literal).String() != "github.com/spf13/cobra.Command" {
		return "", false
	}
	for _, e := range literal.Elts {
		if kv, isPair := e.(*ast.KeyValueExpr); isPair && fmt.Sprint(kv.Key) == "Use" {
			if use, isText := text(info, kv.Value); isText {
				name, _, _ = strings.Cut(use, " ")
			}
		}
	}
	return name, name != ""
}

func firstText(info *types.Info, call *ast.CallExpr) (string, bool) {
	if len(call.Args) == 0 {
		return "", false
	}
	return text(info, call.Args[0])
}

// flagOf reads the definition of a flag: the last three arguments of StringVar and the like, which are the name, the
// value and the usage. StringVarP has a shorthand after the name.
func flagOf(info *types.Info, call *ast.CallExpr, kind string) (aFlag, bool) {
	kind, short := strings.CutSuffix(kind, "P")
	kind = strings.TrimSuffix(kind, "Var")
	if !slices.Contains([]string{"String", "StringSlice", "Bool", "Int", "Duration"}, kind) || len(call.Args) < 4 {
		return aFlag{}, false
	}
	args := call.Args[len(call.Args)-3:]
	f := aFlag{kind: kind}
	nameAt := args[0]
	if short {
		f.shorthand, _ = text(info, args[0])
		nameAt = call.Args[len(call.Args)-4]
	}
	name, named := text(info, nameAt)
	f.name = name
	f.usage, _ = text(info, args[2])
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
			name := "`--" + f.name + "`"
			if f.shorthand != "" {
				name += ", `-" + f.shorthand + "`"
			}
			if f.usage == "" {
				s.problem("the flag %s has no constant description", name)
			}
			if f.value == "" && f.kind != "StringSlice" && !namesDefault.MatchString(f.usage) {
				s.problem("the description of the flag %s does not name its default", name)
			}
			fmt.Fprintf(w, "| %s | %s | %s |\n", name, code(f.value), cell(f.usage))
		}
	}
}
