package main

import (
	"cmp"
	"context"
	"debug/buildinfo"
	"debug/elf"
	"debug/gosym"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// largest is the number of modules that are listed.
const largest = 20

// size shows what the agent's program file consists of: its sections, and the machine code by module. Code that the
// linker could not leave out counts, whether or not it runs.
func size(_ context.Context, o *options) (*report, error) {
	path := filepath.Join(o.bin, "agent")
	file, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	code, err := codeByModule(path, file)
	if err != nil {
		return nil, err
	}
	r := &report{title: fmt.Sprintf("Size: the agent's program file, %s MB", megabytes(uint64(info.Size()))), head: []string{"", "MB"}} //nolint:gosec // a size
	for _, s := range file.Sections {
		if s.Type == elf.SHT_PROGBITS && s.Size > 100_000 {
			r.add("section "+s.Name, megabytes(s.Size))
		}
	}
	modules := make([]string, 0, len(code))
	for m := range code {
		modules = append(modules, m)
	}
	slices.SortFunc(modules, func(a, b string) int { return cmp.Compare(code[b], code[a]) })
	for _, m := range modules[:min(largest, len(modules))] {
		r.add("code of "+m, megabytes(code[m]))
	}
	return r, nil
}

// codeByModule sums the sizes of functions.
func codeByModule(path string, file *elf.File) (map[string]uint64, error) {
	build, err := buildinfo.ReadFile(path)
	if err != nil {
		return nil, err
	}
	modules := []string{build.Main.Path}
	for _, d := range build.Deps {
		modules = append(modules, d.Path)
	}
	text, lines := file.Section(".text"), file.Section(".gopclntab")
	if text == nil || lines == nil {
		return nil, fmt.Errorf("%s has no table of functions", path)
	}
	data, err := lines.Data()
	if err != nil {
		return nil, err
	}
	table, err := gosym.NewTable(nil, gosym.NewLineTable(data, text.Addr))
	if err != nil {
		return nil, err
	}
	code := map[string]uint64{}
	for _, f := range table.Funcs {
		code[moduleOf(f.Name, modules)] += f.End - f.Entry
	}
	return code, nil
}

// moduleOf returns the module of a function by its symbol, which begins with the package's path.
func moduleOf(symbol string, modules []string) string {
	symbol = strings.TrimPrefix(symbol, "type:.eq.")
	best := ""
	for _, m := range modules {
		if len(m) > len(best) && strings.HasPrefix(symbol, m) && len(symbol) > len(m) && (symbol[len(m)] == '/' || symbol[len(m)] == '.') {
			best = m
		}
	}
	if best == "" {
		return "Go itself"
	}
	return best
}

func megabytes(bytes uint64) string { return fmt.Sprintf("%.2f", float64(bytes)/1e6) }
