package main

import (
	"os"
	"strings"
	"testing"
)

func TestPageIsCurrent(t *testing.T) {
	page, err := os.ReadFile("../options.md")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	if b.String() != string(page) {
		t.Fatal("docs/options.md is not what the code says: run make docs")
	}
}
