package main

import (
	"os"
	"strings"
	"testing"
)

func TestSchemaIsCurrent(t *testing.T) {
	page, err := os.ReadFile("../../status.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	if b.String() != string(page) {
		t.Fatal("docs/status.schema.json is not what the code says: run make docs")
	}
}
