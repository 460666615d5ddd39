package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// summarise prints a line per package and the total. With a pattern, a package without a matching test is not a
// failure, if another package has one. The error is errNoResult if the machine is the only reason.
func summarise(w io.Writer, results []result, pattern bool) error {
	var passed, failed, skipped int
	void := false
	for _, r := range results {
		void = void || r.void
		passed, failed, skipped = passed+r.passed, failed+r.failed, skipped+r.skipped
	}
	fmt.Fprintln(w)
	bad := passed+failed == 0 && !void
	for _, r := range results {
		if pattern && errors.Is(r.err, errNoTests) && passed+failed > 0 {
			fmt.Fprintf(w, "none %s\n", r.pkg)
			continue
		}
		bad = bad || !r.ok() && !r.void
		fmt.Fprintln(w, r.line())
	}
	fmt.Fprintln(w, strings.Repeat("-", 40))
	fmt.Fprintf(w, "%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	switch {
	case bad:
		return errTestsFailed
	case void:
		return errNoResult
	}
	return nil
}
