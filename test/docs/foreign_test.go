package docs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bondkeeper/bondkeeper/test/kit"
)

// harmless are the programs of others whose commands only read, and which any machine has links and filters for. The
// arguments are put before those of the document.
var harmless = map[string][]string{
	"ip": nil, "jq": nil, "lsns": nil, "dmesg": nil, "nsenter": nil,
	"tcpdump": {"-d"}, // prints the compiled filter, and captures nothing
}

// values are what users put in for variables. With others a command cannot succeed on any machine.
var values = map[string]string{"NETNS": "/proc/self/ns/net", "PF": "lo"}

// logLine is the input of jq.
const logLine = `{"ts":"2026-01-01T00:00:00Z","msg":"member lost","pod":"demo/pod","member":"net1","cause":"MemberLost"}`

// TestForeignCommandsRun runs commands of other programs: an option or filter that a program does not know makes it
// fail.
func TestForeignCommandsRun(t *testing.T) {
	for name := range harmless {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("make deps installs it: %v", err)
		}
	}
	list, err := Pages(root)
	kit.Must(t, err)
	ran := map[string]int{}
	for _, p := range list {
		commands, _ := p.Commands() // its errors are reported by TestCommands
		for _, c := range commands {
			words, runs := runnable(c)
			if !runs {
				continue
			}
			ran[c.Words[0]]++
			if err := runShortly(t.Context(), words); err != nil {
				t.Errorf("%s: %v", c, err)
			}
		}
	}
	for name := range harmless {
		if ran[name] == 0 {
			t.Errorf("no command of %s was run, only %v", name, ran)
		}
	}
}

// runnable returns the words of a command with values for its variables; false if it cannot be run here.
func runnable(c Command) (words []string, ok bool) {
	before, known := harmless[c.Words[0]]
	if !known || c.Inline {
		return nil, false
	}
	words = slices.Concat(c.Words[:1], before)
	for _, w := range c.Words[1:] {
		if strings.Contains(w, "$(") {
			return nil, false
		}
		words = append(words, os.Expand(w, func(name string) string { return values[name] }))
	}
	if words[0] != "nsenter" || len(words) < 3 {
		return words, true
	}
	_, known = harmless[words[2]] // nsenter has one option in documents, then the program
	return words, known
}

// runShortly runs a command that may be endless: one that still runs after a while has understood its arguments.
func runShortly(ctx context.Context, words []string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Stdin = strings.NewReader(logLine)
	out, err := cmd.CombinedOutput()
	if err != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%q: %w: %s", words, err, out)
	}
	return nil
}
