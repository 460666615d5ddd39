package main

import (
	"os"
	"strings"
	"sync"
	"testing"
)

// loaded is the source, which takes seconds to load.
var loaded = sync.OnceValues(load)

func page(t *testing.T) (string, error) {
	t.Helper()
	s, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	text, err := s.page()
	return string(text), err
}

func TestPageIsCurrent(t *testing.T) {
	want, err := os.ReadFile("../../reference.md")
	if err != nil {
		t.Fatal(err)
	}
	got, err := page(t)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Fatal("docs/reference.md is not what the code says: run make docs")
	}
}

// TestNothingIsMissed: one entry of each kind that the generator finds in a way of its own.
func TestNothingIsMissed(t *testing.T) {
	text, err := page(t)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{
		"| `--workers` |", "| `--kubeconfig` |", "| `--watch` |", "| `--cni-dir` |", // defined by another function: --kubeconfig
		"| [`MemberLost`](runbook.md#memberlost) |", "| [`LeaseLost`](runbook.md#leaselost) |",
		"| `bondkeeper_bonds{state}` | gauge |", "| `bondkeeper_pod_requests_total{kind}` | counter |",
		"| `bondkeeper_kernel_events_total` | counter |", // named in a table
		"| `bondkeeper_repair_duration_seconds{subject}` | histogram |",
		"| `agent started` | info | `version`, `pid`",
		"| `starting without a link` | warn |",
	} {
		if !strings.Contains(text, "\n"+row) {
			t.Errorf("no row that begins with %s", row)
		}
	}
}

func TestMissingMeaningIsAnError(t *testing.T) {
	const message, other = "agent started", "no such message"
	defer func(old string) { logMeanings[message] = old }(logMeanings[message])
	logMeanings[message] = ""
	logMeanings[other] = "x"
	defer delete(logMeanings, other)
	_, err := page(t)
	if err == nil || !strings.Contains(err.Error(), message) || !strings.Contains(err.Error(), other) {
		t.Errorf("got error %v, want one that names %q and %q", err, message, other)
	}
}
