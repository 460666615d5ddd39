package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// event is a line of test2json.
type event struct {
	Action, Test, Output string
	Elapsed              float64
}

// report prints and counts the tests of one package. Subtests count as tests.
type report struct {
	out     io.Writer
	verbose bool

	passed, failed, skipped int
	// output is what each running test has printed so far; the package's own output is under "".
	output map[string]*strings.Builder
	began  map[string]time.Time
	// stalls, if set, returns when the machine stalled.
	stalls func() []time.Time
	// failedClear: a test failed that no stall can have disturbed.
	failedClear bool
}

// stallReach is how far from the report of a stall a test may be affected by it: kernels report one after 21 s.
const stallReach = time.Minute

// disturbed reports whether a stall can have disturbed a test that ends now.
func (r *report) disturbed(test string) bool {
	return r.stalls != nil && slices.ContainsFunc(r.stalls(), func(at time.Time) bool {
		return at.After(r.began[test].Add(-stallReach)) && at.Before(time.Now().Add(stallReach))
	})
}

// read reads test2json's events to their end.
func (r *report) read(events io.Reader) error {
	r.output = map[string]*strings.Builder{"": new(strings.Builder)}
	r.began = map[string]time.Time{}
	for dec := json.NewDecoder(events); ; {
		var e event
		if err := dec.Decode(&e); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("events of the tests: %w", err)
		}
		r.take(e)
	}
}

// running returns the tests that have begun and not ended.
func (r *report) running() []string {
	tests := slices.Sorted(maps.Keys(r.output))
	return slices.DeleteFunc(tests, func(test string) bool { return test == "" })
}

// failRunning reports tests that have not ended as failed: their process panicked or was killed.
func (r *report) failRunning() {
	for _, test := range r.running() {
		r.end(event{Action: "fail", Test: test})
	}
}

func (r *report) take(e event) {
	switch e.Action {
	case "run":
		r.output[e.Test], r.began[e.Test] = new(strings.Builder), time.Now()
	case "output":
		r.print(e)
	case "pass", "fail", "skip":
		if e.Test != "" {
			r.end(e)
		}
	}
}

// print shows a line of output at once, or stores it in case its test fails.
func (r *report) print(e event) {
	if r.verbose {
		fmt.Fprint(r.out, e.Output)
		return
	}
	if text := r.output[e.Test]; text != nil {
		text.WriteString(e.Output)
	}
}

// end counts a test and shows its result: a line for a top-level test or one that did not pass, and the complete output
// if it failed.
func (r *report) end(e event) {
	word := strings.ToUpper(e.Action)
	switch e.Action {
	case "pass":
		r.passed++
	case "fail":
		r.failed++
		if r.disturbed(e.Test) {
			word = "VOID"
		} else {
			r.failedClear = true
		}
	case "skip":
		r.skipped++
	}
	text := r.output[e.Test]
	delete(r.output, e.Test)
	if r.verbose {
		return
	}
	depth := strings.Count(e.Test, "/")
	if depth == 0 || e.Action != "pass" {
		fmt.Fprintf(r.out, "%s--- %s: %s (%.2fs)\n", strings.Repeat("    ", depth), word, e.Test, e.Elapsed)
	}
	if text != nil && e.Action != "pass" {
		fmt.Fprint(r.out, indent(text.String(), depth+1))
	}
}

// indent indents each line by a number of levels, and drops lines that repeat the result.
func indent(text string, levels int) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		if trimmed := strings.TrimSpace(line); strings.HasPrefix(trimmed, "--- ") || strings.HasPrefix(trimmed, "=== ") {
			continue
		}
		out.WriteString(strings.Repeat("    ", levels) + strings.TrimPrefix(line, "    "))
	}
	return out.String()
}

// rest returns what the package printed outside its tests.
func (r *report) rest() string {
	if text := r.output[""]; text != nil {
		return text.String()
	}
	return ""
}

// result is the outcome of one package.
type result struct {
	pkg                     string
	passed, failed, skipped int
	// err is why the package failed apart from its tests; nil otherwise.
	err  error
	took time.Duration
	// repeated: the machine failed during the first attempt, whose outcome does not count.
	repeated bool
	// void: the package has neither passed nor failed, because the machine failed.
	void bool
}

func (r *result) ok() bool { return r.err == nil && r.failed == 0 }

// line is the result in one line.
func (r *result) line() string {
	if r.void {
		return fmt.Sprintf("VOID %s  (%.1f s): %s", r.pkg, r.took.Seconds(), firstLine(r.err))
	}
	word := "ok  "
	if !r.ok() {
		word = "FAIL"
	}
	text := fmt.Sprintf("%s %s  %d passed, %d failed, %d skipped  (%.1f s)",
		word, r.pkg, r.passed, r.failed, r.skipped, r.took.Seconds())
	if r.repeated {
		text += " in the second attempt, the emulated machine failed under the first"
	}
	if r.err != nil {
		text += ": " + firstLine(r.err)
	}
	return text
}

func firstLine(err error) string {
	first, _, _ := strings.Cut(err.Error(), "\n")
	return first
}
