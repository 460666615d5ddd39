package main

import (
	"strings"
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	var s samples
	for i := range 100 {
		s = append(s, time.Duration(100-i))
	}
	for q, want := range map[float64]time.Duration{0: 1, 0.5: 51, 0.9: 91, 0.99: 100, 1: 100} {
		if got := s.quantile(q); got != want {
			t.Errorf("quantile %v of 1 to 100 is %d, want %d", q, got, want)
		}
	}
	if got := samples(nil).quantile(0.5); got != 0 {
		t.Errorf("of nothing: %d", got)
	}
}

func TestReport(t *testing.T) {
	r := &report{title: "T", head: []string{"", "a", "b"}, remarks: []string{"N."}}
	r.add("x", "1", "2")
	want := "T\n\n|  | a | b |\n|---|---:|---:|\n| x | 1 | 2 |\n\nN.\n"
	if got := r.markdown(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	p := plot{title: "a < b", rows: []plotRow{{"x", samples{time.Millisecond, 2 * time.Millisecond}}}}
	if svg := string(p.svg()); !strings.Contains(svg, "a &lt; b") || strings.Count(svg, "<circle") != 2 {
		t.Errorf("plot: %s", svg)
	}
}
