package main

import (
	"os"
	"strings"
	"testing"
)

func TestPageIsCurrent(t *testing.T) {
	page, err := os.ReadFile("../../reference.md")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	if b.String() != string(page) {
		t.Fatal("docs/reference.md is not what the code says: run make docs")
	}
}

// TestNothingIsMissed: one entry of each kind that the generator finds in a way of its own.
func TestNothingIsMissed(t *testing.T) {
	var b strings.Builder
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{
		"| `-workers` |", "| `-kubeconfig` |", "| `-watch` |", "| `-cni-dir` |", // defined by another function: -kubeconfig
		"| `MemberLost` |", "| `LeaseLost` |",
		"| `bondkeeper_bonds{state}` | gauge |", "| `bondkeeper_pod_requests_total{kind}` | counter |",
		"| `bondkeeper_kernel_events_total` | counter |", // named in a table
		"| `agent started` | info | `version`, `pid`",
		"| `starting without a link` | warn |",
	} {
		if !strings.Contains(b.String(), "\n"+row) {
			t.Errorf("no row that begins with %s", row)
		}
	}
}

func TestMissingMeaningIsAnError(t *testing.T) {
	defer func(old string) { causeMeanings["MemberLost"] = old }(causeMeanings["MemberLost"])
	causeMeanings["MemberLost"] = ""
	causeMeanings["NoSuchCause"] = "x"
	defer delete(causeMeanings, "NoSuchCause")
	err := write(&strings.Builder{})
	if err == nil || !strings.Contains(err.Error(), "MemberLost") || !strings.Contains(err.Error(), "NoSuchCause") {
		t.Errorf("got error %v, want one that names MemberLost and NoSuchCause", err)
	}
}
