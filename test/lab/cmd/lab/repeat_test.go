package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab"
)

const runs = "=== RUN   TestA\n"

// Machines of several kinds.
func good() *fakeMachine { return &fakeMachine{prints: passes} }

func bad() *fakeMachine { return &fakeMachine{prints: fails, exit: &lab.ExitError{Code: 1}} }

// faulty aborts after the test binary has printed something.
func faulty(prints string) *fakeMachine {
	return &fakeMachine{prints: prints, exit: lab.ErrGuestGone, fault: lab.ErrMachineFailed}
}

// stalled reports a stall, ago before now, and goes on.
func stalled(m *fakeMachine, ago time.Duration) *fakeMachine {
	m.fault, m.stalls = lab.ErrMachineFailed, []time.Time{time.Now().Add(-ago)}
	return m
}

// booting is the boot function for guests in order. A nil guest is one of which two boots failed.
func booting(guests []*fakeMachine) (boot func(context.Context, *options) (machine, error), used *int) {
	used = new(int)
	return func(context.Context, *options) (machine, error) {
		*used++
		if guests[*used-1] == nil {
			return nil, lab.ErrMachineFailed
		}
		return guests[*used-1], nil
	}, used
}

// TestRepeats runs a package in guests that fail in different ways. Only if the machine failed is it run again, once, and
// a second failure of the machine is neither a failed nor a passed test.
func TestRepeats(t *testing.T) {
	for name, c := range map[string]struct {
		guests         []*fakeMachine
		passed, failed int
		word           string
		used           int
	}{
		"passes":                   {[]*fakeMachine{good(), bad()}, 1, 0, "ok", 1},
		"fails":                    {[]*fakeMachine{bad(), good()}, 0, 1, "FAIL", 1},
		"machine fails":            {[]*fakeMachine{faulty(runs), good()}, 1, 0, "ok", 2},
		"machine fails, then test": {[]*fakeMachine{faulty(""), bad()}, 0, 1, "FAIL", 2},
		"machine fails twice":      {[]*fakeMachine{faulty(""), faulty(runs), good()}, 0, 0, "VOID", 2},
		"test fails, then machine": {[]*fakeMachine{faulty(runs + "--- FAIL: TestA (0.10s)\n=== RUN   TestB\n"), good()}, 0, 1, "FAIL", 1},
		"machine and boots fail":   {[]*fakeMachine{faulty(runs), nil}, 0, 0, "VOID", 2},
		"passes in spite of stall": {[]*fakeMachine{stalled(good(), 0), bad()}, 1, 0, "ok", 1},
		"fails during a stall":     {[]*fakeMachine{stalled(bad(), 0), good()}, 1, 0, "ok", 2},
		"fails long after a stall": {[]*fakeMachine{stalled(bad(), 2*stallReach), good()}, 0, 1, "FAIL", 1},
		"no guest":                 {[]*fakeMachine{nil}, 0, 0, "VOID", 1},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			o := testOptions{run: "none"}
			o.out, o.timeout = &out, time.Minute
			var used *int
			o.boot, used = booting(c.guests)
			res := runFake(t, &o, 1)[0]
			if res.passed != c.passed || res.failed != c.failed || !strings.HasPrefix(res.line(), c.word+" ") || *used != c.used {
				t.Errorf("%s; %d guests used; output:\n%s", res.line(), *used, out.String())
			}
			if repeated := len(c.guests) > 1 && c.used == 2; repeated != strings.Contains(out.String(), "no result for p") {
				t.Errorf("the fault is not reported: %s\n%s", res.line(), out.String())
			}
			if c.word != "FAIL" && strings.Contains(out.String(), "FAIL: Test") {
				t.Errorf("a test is named as failed:\n%s", out.String())
			}
			if strings.Contains(out.String(), "FAIL: TestB") {
				t.Errorf("a test that did not end is named as failed:\n%s", out.String())
			}
		})
	}
}

// TestFaultOfAnEarlierPackage: a package does not get a guest whose machine has failed under another, and once no guest
// comes up, the packages before keep their results.
func TestFaultOfAnEarlierPackage(t *testing.T) {
	var o testOptions
	o.out, o.timeout = t.Output(), time.Minute
	var used *int
	o.boot, used = booting([]*fakeMachine{stalled(good(), 0), stalled(bad(), 2*stallReach), nil})
	results := runFake(t, &o, 3)
	var lines []string
	for _, r := range results {
		lines = append(lines, r.line()[:4])
	}
	if got := strings.Join(lines, ","); got != "ok  ,FAIL,VOID" || *used != 3 {
		t.Errorf("%s with %d guests, want ok, FAIL, VOID with 3", got, *used)
	}
}

// runFake runs packages whose binaries exist only as what the guests print.
func runFake(t *testing.T, o *testOptions, n int) []result {
	t.Helper()
	t.Setenv(lab.CacheEnv, t.TempDir())
	o.compile = func(context.Context, []testPackage, string, bool) []binary {
		return slices.Repeat([]binary{{pkg: testPackage{ImportPath: "p"}}}, n)
	}
	packages := slices.Repeat([]testPackage{{ImportPath: "p"}}, n)
	results, err := o.test(t.Context(), packages)
	kit.Must(t, err)
	if len(results) != n {
		t.Fatalf("%d results, want %d", len(results), n)
	}
	return results
}

// TestVoidSummary: a failure of the machine is an error of its own, unless tests failed, too.
func TestVoidSummary(t *testing.T) {
	void := result{pkg: "v", err: lab.ErrMachineFailed, void: true}
	for name, c := range map[string]struct {
		results []result
		want    error
	}{
		"void beside a good one":   {[]result{{pkg: "a", passed: 1}, void}, errNoResult},
		"void alone":               {[]result{void}, errNoResult},
		"void beside a failed one": {[]result{{pkg: "a", failed: 1}, void}, errTestsFailed},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			if err := summarise(&out, c.results, false); !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			if !strings.Contains(out.String(), "VOID v ") {
				t.Errorf("output:\n%s", out.String())
			}
		})
	}
}
