package leak

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// Main runs the tests of a package, for its TestMain, and returns the exit code: 1 also if goroutines or file
// descriptors are left.
func Main(m *testing.M, options ...goleak.Option) int {
	flag.Parse()
	if flag.Lookup("test.fuzz").Value.String() != "" { // a fuzzer's own goroutines and pipes are no leak
		return m.Run()
	}
	before := descriptors()
	if code := m.Run(); code != 0 {
		return code
	}
	err := goleak.Find(options...) // it waits for those that are about to end
	if err != nil {
		fmt.Fprintf(os.Stderr, "goroutines are left after the tests: %v\n", err)
	}
	left := subtract(descriptors(), before)
	if len(left) > 0 {
		fmt.Fprintf(os.Stderr, "file descriptors are left after the tests: %q\n", left)
	}
	if err != nil || len(left) > 0 {
		return 1
	}
	return 0
}

// descriptors are what this process has open, with the number of each.
func descriptors() map[string]int {
	const dir = "/proc/self/fd"
	open := map[string]int{}
	own, _ := os.Readlink("/proc/self/ns/net")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return open
	}
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		switch {
		case err != nil: // the one of the directory
		case target == "anon_inode:[eventpoll]", target == "anon_inode:[eventfd]": // the Go runtime's, from the first use on
		case target == own: // package netns keeps it open, from the first use on
		default:
			kind, _, _ := strings.Cut(target, ":[") // a socket's number differs from run to run
			open[kind]++
		}
	}
	return open
}

func subtract(after, before map[string]int) (left []string) {
	for _, kind := range slices.Sorted(maps.Keys(after)) {
		if n := after[kind] - before[kind]; n > 0 {
			left = append(left, fmt.Sprintf("%d %s", n, kind))
		}
	}
	return left
}
