package main

import (
	"os"
	"strings"
	"testing"

	"github.com/bondkeeper/bondkeeper/pkg/cni"
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
	for _, field := range cni.Fields() {
		if !strings.Contains(b.String(), "\n| `"+field.Name+"` |") {
			t.Errorf("the page does not have %s", field.Name)
		}
	}
	if b.String() != string(page) {
		t.Fatal("docs/options.md is not what the code says: run make docs")
	}
}
