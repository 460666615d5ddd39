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
	// fault is the machine's, from the binary's run on.
	fault  error
	stalls []time.Time
	runs   int
}

func (m *fakeMachine) Run(_ context.Context, cmd lab.Cmd) error {
	m.runs++
	_, err := fmt.Fprint(cmd.Stdout, m.prints)
	return errors.Join(err, m.exit)
}

func (m *fakeMachine) Fault() error {
	if m.runs == 0 {
		return nil
	}
	return m.fault
}
func (m *fakeMachine) Stalls() []time.Time        { return m.stalls }
func (m *fakeMachine) Done() <-chan struct{}      { return nil }
func (m *fakeMachine) Stop(context.Context) error { return nil }

// TestApart boots a guest per package, two at a time. One that does not come up fails its package only.
func TestApart(t *testing.T) {
	var mu sync.Mutex
	booted, most, running := 0, 0, 0
	both := make(chan struct{})
	var out strings.Builder
	o := testOptions{guests: 2, smp: []string{"b"}, run: "none", compile: compile}
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
