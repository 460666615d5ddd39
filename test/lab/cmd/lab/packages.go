package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// tag is the build tag of tests that run in the guest.
const tag = "lab"

// testPackage is a package with tests for the guest.
type testPackage struct {
	ImportPath string
	Dir        string
	// TestGoFiles and XTestGoFiles are what go list says.
	TestGoFiles, XTestGoFiles []string
}

// listPackages returns the packages among the patterns that have tests with the tag. A package that is named without a
// wildcard and has none is an error: its tests were expected to run.
func listPackages(ctx context.Context, patterns []string) ([]testPackage, error) {
	tagged, err := goList(ctx, append([]string{"-tags", tag}, patterns...)...)
	if err != nil {
		return nil, err
	}
	plain, err := goList(ctx, patterns...)
	if err != nil {
		return nil, err
	}
	// A package whose files all have the tag is not in the plain list at all.
	untagged := map[string]int{}
	for _, p := range plain {
		untagged[p.ImportPath] = p.tests()
	}
	named, err := namedPackages(ctx, patterns)
	if err != nil {
		return nil, err
	}
	var found []testPackage
	var without []string
	for _, p := range tagged {
		switch {
		case p.tests() > untagged[p.ImportPath]:
			found = append(found, p)
		case named[p.ImportPath]:
			without = append(without, p.ImportPath)
		}
	}
	if len(found) == 0 && len(without) == 0 {
		without = patterns
	}
	if len(without) > 0 {
		return nil, fmt.Errorf("lab test: no tests behind the build tag %s in %s: %w",
			tag, strings.Join(without, ", "), errUsage)
	}
	return found, nil
}

// namedPackages returns the import paths of packages that are named without a wildcard.
func namedPackages(ctx context.Context, patterns []string) (map[string]bool, error) {
	patterns = slices.DeleteFunc(slices.Clone(patterns), func(p string) bool { return strings.Contains(p, "...") })
	named := map[string]bool{}
	if len(patterns) == 0 {
		return named, nil // go list without patterns lists the working directory
	}
	packages, err := goList(ctx, append([]string{"-tags", tag}, patterns...)...)
	if err != nil {
		return nil, err
	}
	for _, p := range packages {
		named[p.ImportPath] = true
	}
	return named, nil
}

// short is the package's path below the module.
func (p *testPackage) short() string {
	return strings.TrimPrefix(p.ImportPath, "github.com/bondkeeper/bondkeeper/")
}

func (p *testPackage) tests() int { return len(p.TestGoFiles) + len(p.XTestGoFiles) }

// goList runs go list.
func goList(ctx context.Context, args ...string) ([]testPackage, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"list", "-e", "-json=ImportPath,Dir,TestGoFiles,XTestGoFiles"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("lab test: go list: %w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	var packages []testPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p testPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages, nil
		} else if err != nil {
			return nil, fmt.Errorf("lab test: go list: %w", err)
		}
		packages = append(packages, p)
	}
}

// binary is a compiled test, or the compiler's errors.
type binary struct {
	pkg  testPackage
	path string
	err  error
}

// compile compiles the packages' tests into a directory, one by one: the guest boots at the same time.
func compile(ctx context.Context, packages []testPackage, dir string, race bool) []binary {
	binaries := make([]binary, 0, len(packages))
	for i, p := range packages {
		b := binary{pkg: p, path: filepath.Join(dir, strconv.Itoa(i)+"-"+filepath.Base(p.ImportPath)+".test")}
		args := []string{"test", "-c", "-tags", tag, "-o", b.path}
		if race {
			args = append(args, "-race")
		}
		if out, err := exec.CommandContext(ctx, "go", append(args, p.ImportPath)...).CombinedOutput(); err != nil {
			b.err = fmt.Errorf("does not compile: %w\n%s", err, bytes.TrimSpace(out))
		}
		binaries = append(binaries, b)
	}
	return binaries
}
