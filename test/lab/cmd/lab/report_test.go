package main

import (
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestReport replays the events of a package with every possible outcome of a test.
func TestReport(t *testing.T) {
	events := `
{"Action":"start"}
{"Action":"run","Test":"TestGood"}
{"Action":"output","Test":"TestGood","Output":"=== RUN   TestGood\n"}
{"Action":"output","Test":"TestGood","Output":"noise\n"}
{"Action":"pass","Test":"TestGood","Elapsed":1.5}
{"Action":"run","Test":"TestBad"}
{"Action":"run","Test":"TestBad/a"}
{"Action":"output","Test":"TestBad/a","Output":"    --- FAIL: TestBad/a (0.00s)\n"}
{"Action":"output","Test":"TestBad/a","Output":"        bad_test.go:1: why\n"}
{"Action":"fail","Test":"TestBad/a"}
{"Action":"run","Test":"TestBad/b"}
{"Action":"pass","Test":"TestBad/b"}
{"Action":"fail","Test":"TestBad"}
{"Action":"run","Test":"TestNo"}
{"Action":"output","Test":"TestNo","Output":"    no_test.go:1: no card\n"}
{"Action":"skip","Test":"TestNo"}
{"Action":"run","Test":"TestPanic"}
{"Action":"output","Test":"TestPanic","Output":"panic: boom\n"}
{"Action":"output","Output":"exit status 2\n"}
{"Action":"fail"}
`
	var out strings.Builder
	r := &report{out: &out}
	kit.Must(t, r.read(strings.NewReader(events)))
	r.failRunning()
	want := `--- PASS: TestGood (1.50s)
    --- FAIL: TestBad/a (0.00s)
            bad_test.go:1: why
--- FAIL: TestBad (0.00s)
--- SKIP: TestNo (0.00s)
    no_test.go:1: no card
--- FAIL: TestPanic (0.00s)
    panic: boom
`
	if out.String() != want {
		t.Errorf("report:\n%swant:\n%s", out.String(), want)
	}
	if r.passed != 2 || r.failed != 3 || r.skipped != 1 {
		t.Errorf("%d passed, %d failed, %d skipped, want 2, 3, 1", r.passed, r.failed, r.skipped)
	}
	if r.rest() != "exit status 2\n" {
		t.Errorf("rest %q", r.rest())
	}
}

func TestSummary(t *testing.T) {
	ran, none := result{pkg: "a", passed: 1}, result{pkg: "b", err: errNoTests}
	for name, c := range map[string]struct {
		results []result
		pattern bool
		good    bool
	}{
		"all ran":                    {[]result{ran}, false, true},
		"one ran nothing":            {[]result{ran, none}, false, false},
		"no match in one of them":    {[]result{ran, none}, true, true},
		"no match in any of them":    {[]result{none}, true, false},
		"only skipped":               {[]result{{pkg: "a", skipped: 3, err: errNoTests}}, false, false},
		"failed beside a good one":   {[]result{ran, {pkg: "c", failed: 1}}, false, false},
		"broken without failed test": {[]result{{pkg: "c", passed: 1, err: errTestsFailed}}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			if err := summarise(&out, c.results, c.pattern); (err == nil) != c.good {
				t.Errorf("error %v, output:\n%s", err, out.String())
			}
		})
	}
}
