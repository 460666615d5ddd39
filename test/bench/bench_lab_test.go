//go:build lab

package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestBench runs each measurement a few times. It keeps them working, and asserts nothing about times.
func TestBench(t *testing.T) {
	bin, err := filepath.Abs("../../bin")
	kit.Must(t, err)
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) {
			r, err := p.run(t.Context(), &options{
				bin: bin, rounds: 2, losses: 2, bonds: []int{1, 2}, storm: 2, storms: 1, foreign: 20, pings: 100, rest: time.Second,
			})
			kit.Must(t, err)
			if len(r.rows) == 0 || r.plot != nil && !strings.Contains(string(r.plot.svg()), "<circle") {
				t.Errorf("nothing was measured: %s", r.markdown())
			}
		})
	}
}
