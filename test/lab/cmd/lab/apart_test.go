package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/test/kit"
	"github.com/bondkeeper/bondkeeper/test/lab"
)

const passes, fails = "=== RUN   TestA\n--- PASS: TestA (0.10s)\nPASS\n", "=== RUN   TestA\n--- FAIL: TestA (0.10s)\nFAIL\n"

// fakeMachine is a guest in which the test binary prints a text.
type fakeMachine struct {
	prints string
	exit   error
	fault  error
}

func (m *fakeMachine) Run(_ context.Context, cmd lab.Cmd) error {
	_, err := fmt.Fprint(cmd.Stdout, m.prints)
	return errors.Join(err, m.exit)
}
func (m *fakeMachine) Fault() error               { return m.fault }
func (m *fakeMachine) Done() <-chan struct{}      { return nil }
func (m *fakeMachine) Stop(context.Context) error { return nil }

// TestRepeats runs a package in guests that fail in different ways: only after a failure of the machine is it run
// again, once.
func TestRepeats(t *testing.T) {
	good := func() *fakeMachine { return &fakeMachine{prints: passes} }
	bad := func() *fakeMachine { return &fakeMachine{prints: fails, exit: &lab.ExitError{Code: 1}} }
	faulty := func(prints string) *fakeMachine {
		return &fakeMachine{prints: prints, exit: lab.ErrGuestGone, fault: lab.ErrMachineFailed}
	}
	stalledOnce := &fakeMachine{prints: passes, fault: lab.ErrMachineFailed}
	for name, c := range map[string]struct {
		guests         []*fakeMachine
		passed, failed int
		ok             bool
		used           int
	}{
		"passes":                   {[]*fakeMachine{good(), bad()}, 1, 0, true, 1},
		"fails":                    {[]*fakeMachine{bad(), good()}, 0, 1, false, 1},
		"machine fails":            {[]*fakeMachine{faulty("=== RUN   TestA\n"), good()}, 1, 0, true, 2},
		"machine fails, then test": {[]*fakeMachine{faulty(""), bad()}, 0, 1, false, 2},
		"machine fails twice":      {[]*fakeMachine{faulty(""), faulty("=== RUN   TestA\n"), good()}, 0, 1, false, 2},
		"passes after a stall":     {[]*fakeMachine{stalledOnce, bad()}, 1, 0, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			used := 1
			var o testOptions
			var out strings.Builder
			o.out, o.timeout = &out, time.Minute
			o.boot = func(context.Context, *options) (machine, error) { used++; return c.guests[used-1], nil }
			b := binary{pkg: testPackage{ImportPath: "p"}}
			_, res, err := o.testPackage(t.Context(), c.guests[0], b)
			kit.Must(t, err)
			if res.passed != c.passed || res.failed != c.failed || res.ok() != c.ok || used != c.used {
				t.Errorf("%s; %d guests used; output:\n%s", res.line(), used, out.String())
			}
			if reported := strings.Contains(out.String(), "no result for p"); reported != (c.used == 2) || reported != strings.Contains(res.line(), "second attempt") {
				t.Errorf("the fault is not reported: %s\n%s", res.line(), out.String())
			}
		})
	}
}

// TestApart boots a guest per package, two at a time. One that does not come up fails its package only.
func TestApart(t *testing.T) {
	var mu sync.Mutex
	booted, most, running := 0, 0, 0
	both := make(chan struct{})
	var out strings.Builder
	o := testOptions{guests: 2, smp: []string{"b"}, run: "none"}
	o.cfg.CPUs = 1
	var cpus []int
	o.out, o.timeout = &out, time.Minute
	o.boot = func(_ context.Context, o *options) (machine, error) {
		mu.Lock()
		booted++
		cpus = append(cpus, o.cfg.CPUs)
		n := booted
		running++
		most = max(most, running)
		mu.Unlock()
		if n == 2 {
			close(both)
		}
		<-both
		mu.Lock()
		defer mu.Unlock()
		running--
		if n == 2 {
			return nil, errors.New("no such card")
		}
		return &fakeMachine{prints: passes}, nil
	}
	dir, err := os.Getwd()
	kit.Must(t, err)
	t.Setenv(lab.CacheEnv, t.TempDir())
	var packages []testPackage
	for _, name := range []string{"a", "b", "c"} {
		packages = append(packages, testPackage{ImportPath: "github.com/bondkeeper/bondkeeper/" + name, Dir: dir})
	}
	// No such package compiles, and what does not compile is not run.
	results, err := o.testApart(t.Context(), packages)
	kit.Must(t, err)
	if booted != 3 || most != 2 || len(results) != 3 {
		t.Errorf("%d guests booted, %d at once, %d results", booted, most, len(results))
	}
	if slices.Sort(cpus); !slices.Equal(cpus, []int{1, 1, 2}) {
		t.Errorf("processors of the guests: %v", cpus)
	}
	bad := slices.DeleteFunc(slices.Clone(results), func(r result) bool { return !strings.Contains(fmt.Sprint(r.err), "no such card") })
	if len(bad) != 1 || !strings.Contains(out.String(), strings.TrimPrefix(bad[0].pkg, "github.com/bondkeeper/bondkeeper/")+": no such card\n") {
		t.Errorf("results %+v, output:\n%s", results, out.String())
	}
	for line := range strings.Lines(out.String()) {
		if len(line) < 4 || !strings.Contains("a: b: c: ", line[:3]) {
			t.Errorf("a line without its package: %q", line)
		}
	}
}

// TestPrefixWriter writes incomplete lines.
func TestPrefixWriter(t *testing.T) {
	var out strings.Builder
	w := &prefixWriter{mu: new(sync.Mutex), to: &out, prefix: "p: "}
	for _, piece := range []string{"one\ntw", "o", "\n\n  three\n", "last"} {
		if n, err := w.Write([]byte(piece)); n != len(piece) || err != nil {
			t.Errorf("wrote %d of %q: %v", n, piece, err)
		}
	}
	w.flush()
	if want := "p: one\np: two\np:   three\np: last\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}
