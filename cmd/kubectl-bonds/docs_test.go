package main

import (
	"testing"

	"github.com/bondkeeper/bondkeeper/test/docs"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestDocumentedCommands: the commands of kubectl bonds in the documents, and in the examples of its own help, are
// valid.
func TestDocumentedCommands(t *testing.T) {
	all, err := docs.CommandsOf("../..", "kubectl-bonds")
	kit.Must(t, err)
	all = append(all, docs.Examples(newCommand(), "kubectl-bonds")...)
	if len(all) < 5 {
		t.Errorf("found %d commands only", len(all))
	}
	for _, c := range all {
		if err := c.Validate(newCommand()); err != nil {
			t.Error(err)
		}
	}
}
