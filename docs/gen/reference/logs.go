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

// logLine is one message, with what all calls that log it have.
type logLine struct {
	plugin bool
	levels []string
	fields []string
}

const (
	logger   = "*go.uber.org/zap.Logger"
	zapField = "go.uber.org/zap."
)

// logs are the messages that are logged as constants.
func (s *source) logs() map[string]*logLine {
	all := map[string]*logLine{}
	s.functions(func(p *packages.Package, fn *ast.FuncDecl) {
		ast.Inspect(fn, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			receiver, name := method(p.TypesInfo, call)
			message, level, ok := messageOf(p.TypesInfo, call, name)
			if receiver != logger || !ok {
				return true
			}
			l := all[message]
			if l == nil {
				l = &logLine{plugin: strings.HasSuffix(p.PkgPath, "/cni")}
				all[message] = l
			}
			if level != "" && !slices.Contains(l.levels, level) {
				l.levels = append(l.levels, level)
			}
			for _, f := range fieldsOf(p.TypesInfo, fn, call) {
				if !slices.Contains(l.fields, f) {
					l.fields = append(l.fields, f)
				}
			}
			return true
		})
	})
	return all
}

// messageOf is a call's message and level; the level is empty if it is decided at run time.
func messageOf(info *types.Info, call *ast.CallExpr, name string) (message, level string, ok bool) {
	switch name {
	case "Debug", "Info", "Warn", "Error":
		message, ok = firstText(info, call)
		return message, strings.ToLower(name), ok
	case "Log", "Check":
		message, ok = text(info, call.Args[1])
		if sel, isConst := call.Args[0].(*ast.SelectorExpr); isConst {
			level = strings.ToLower(strings.TrimSuffix(sel.Sel.Name, "Level"))
		}
		return message, level, ok
	}
	return "", "", false
}

// fieldsOf are the fields of a call; with those that its function makes outside of other calls, if it passes a list of
// fields or writes an entry that it has checked.
func fieldsOf(info *types.Info, fn *ast.FuncDecl, call *ast.CallExpr) (all []string) {
	var in ast.Node = call
	if _, name := method(info, call); call.Ellipsis.IsValid() || name == "Check" {
		in = fn
	}
	ast.Inspect(in, func(n ast.Node) bool {
		c, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if receiver, _ := method(info, c); receiver == logger && c != call {
			return false
		}
		made := function(info, c)
		if !strings.HasPrefix(made, zapField) {
			return true
		}
		name, ok := firstText(info, c)
		if made == zapField+"Error" {
			name, ok = "error", true
		}
		if ok && !slices.Contains([]string{"bond", "pod", "netns"}, name) && !slices.Contains(all, name) {
			all = append(all, name)
		}
		return true
	})
	return all
}

func (s *source) writeLogs(w io.Writer) {
	all := s.logs()
	for message := range logMeanings {
		if all[message] == nil {
			s.problem("meanings.go has the log message %q, which is not in the code", message)
		}
	}
	for _, plugin := range []bool{false, true} {
		title := "Agent"
		if plugin {
			title = "Plugin"
		}
		fmt.Fprintf(w, "\n### %s\n\n| message | level | fields | meaning |\n|---|---|---|---|\n", title)
		for _, message := range slices.Sorted(maps.Keys(all)) {
			l := all[message]
			if l.plugin != plugin {
				continue
			}
			meaning := logMeanings[message]
			if meaning == "" {
				s.problem("the log message %q has no meaning in docs/gen/reference/meanings.go", message)
			}
			level := strings.Join(l.levels, ", ")
			if level == "" {
				level = "varies"
			}
			fields := make([]string, len(l.fields))
			for i, f := range l.fields {
				fields[i] = code(f)
			}
			if len(fields) == 0 {
				fields = []string{code("")}
			}
			fmt.Fprintf(w, "| `%s` | %s | %s | %s |\n", cell(message), level, strings.Join(fields, ", "), cell(meaning))
		}
	}
}
