package main

import (
	"testing"

	"github.com/bondkeeper/bondkeeper/test/docs"
	"github.com/bondkeeper/bondkeeper/test/kit"
)

// TestDocumentedCommands: the commands of the agent in the documents, and in the examples of its own help, are valid.
// Each command is in the documents.
func TestDocumentedCommands(t *testing.T) {
	all, err := docs.CommandsOf("../..", "agent")
	kit.Must(t, err)
	all = append(all, docs.Examples(newRoot(), "agent")...)
	if len(all) < 20 {
		t.Errorf("found %d commands only", len(all))
	}
	named := map[string]bool{}
	for _, c := range all {
		if err := c.Validate(newRoot()); err != nil {
			t.Error(err)
		}
		named[c.Words[1]] = true
	}
	for _, cmd := range newRoot().Commands() {
		if !named[cmd.Name()] {
			t.Errorf("no document names agent %s", cmd.Name())
		}
	}
}

// TestWrongCommands: commands that the agent rejects are found.
func TestWrongCommands(t *testing.T) {
	for _, words := range [][]string{{"fly"}, {"status", "--nonsense"}, {"status", "now"}, {"explain", "a", "b"}, {"run", "--workers", "many"}, {"completion", "csh"}} {
		for _, inline := range []bool{false, true} {
			c := docs.Command{Inline: inline, Words: append([]string{"agent"}, words...)}
			if c.Validate(newRoot()) == nil {
				t.Errorf("nothing is wrong with %s", c)
			}
		}
	}
	c := docs.Command{Words: []string{"agent", "explain"}}
	if c.Validate(newRoot()) == nil {
		t.Errorf("nothing is wrong with %s in a block", c)
	}
	if c.Inline = true; c.Validate(newRoot()) != nil {
		t.Errorf("%s is no name of a command", c)
	}
}
