package main

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"
)

// report is the result of one part: a table and a plot.
type report struct {
	title   string
	head    []string
	rows    [][]string
	remarks []string
	plot    *plot
}

func (r *report) add(cells ...string) { r.rows = append(r.rows, cells) }

func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n| %s |\n|", r.title, strings.Join(r.head, " | "))
	for i := range r.head {
		b.WriteString([]string{"---|", "---:|"}[min(i, 1)])
	}
	b.WriteString("\n")
	for _, row := range r.rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
	}
	for _, n := range r.remarks {
		fmt.Fprintf(&b, "\n%s\n", n)
	}
	return b.String()
}

// processors is for remarks.
func processors() string {
	if n := runtime.NumCPU(); n > 1 {
		return fmt.Sprintf("%d processors", n)
	}
	return "one processor"
}

// samples are the durations of one contender.
type samples []time.Duration

// quantile returns the smallest sample that is not less than the share q of all; 0 if there are none.
func (s samples) quantile(q float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[min(int(q*float64(len(s))), len(s)-1)]
}

func (s samples) median() time.Duration { return s.quantile(0.5) }

func millis(d time.Duration) string { return fmt.Sprintf("%.1f", d.Seconds()*1000) }

// ratio is how many times as long as another duration one is.
func ratio(a, b time.Duration) string {
	if b == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", float64(a)/float64(b))
}
