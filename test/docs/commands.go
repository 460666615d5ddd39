package docs

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Command is a simple command in a document: of a pipeline or list each one is a command of its own.
type Command struct {
	Page string
	Line int
	// Inline is set for inline code, which may be a program's name for something, with its arguments left out.
	Inline bool
	// Words has the program first, by its name on any machine: agent and kubectl-bonds for those of this project.
	Words []string
	// Assigned are the variables set for this command only.
	Assigned []string
	// Dir is the directory that cd has entered before it in the same block.
	Dir string
}

func (c Command) String() string {
	return fmt.Sprintf("%s:%d: %s", c.Page, c.Line, strings.Join(c.Words, " "))
}

// inlinePrograms are those whose commands are recognized in inline code.
var inlinePrograms = []string{"make", "agent", "kubectl", "kubectl-bonds", "go", "kustomize", "bin/lab"}

// Commands returns the commands of a page. A line of a block with commands that the shell would not read is an error.
func (p Page) Commands() (all []Command, errs []error) {
	for _, b := range p.Blocks() {
		commands, err := b.commands()
		if err != nil {
			errs = append(errs, err)
		}
		all = append(all, commands...)
	}
	return append(all, p.inlineCommands()...), errs
}

// commands returns the commands of a block, and none with an error.
func (b Block) commands() (all []Command, err error) {
	if b.Lang != "" && b.Lang != "sh" && b.Lang != "console" {
		return nil, nil
	}
	dir := ""
	for i, line := range strings.Split(b.Text, "\n") {
		if b.Lang == "console" {
			prompted, isCommand := strings.CutPrefix(line, "$ ")
			if !isCommand {
				continue // output
			}
			line = prompted
		}
		commands, err := parse(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %q: %w; a block that is no command needs a language, such as text", b.Page, b.Line+i, line, err)
		}
		for _, c := range commands {
			c.Page, c.Line, c.Dir = b.Page, b.Line+i, dir
			all = append(all, c)
			if c.Words[0] == "cd" && len(c.Words) == 2 {
				dir = filepath.Join(dir, c.Words[1])
			}
		}
	}
	return all, nil
}

// placeholder is written where a user puts a value of his own.
var placeholder = regexp.MustCompile(`<([a-z-]+)>`)

func (p Page) inlineCommands() (all []Command) {
	if strings.Contains(p.Text, "\nGenerated from the code ") {
		return nil // it has log messages, too, which may look like commands
	}
	for _, s := range p.Spans() {
		commands, err := parse(placeholder.ReplaceAllString(s.Text, "$1"))
		if err != nil {
			continue // code of some other kind
		}
		for _, c := range commands {
			if len(c.Words) > 1 && slices.Contains(inlinePrograms, c.Words[0]) {
				c.Page, c.Line, c.Inline = p.Path, s.Line, true
				all = append(all, c)
			}
		}
	}
	return all
}

var (
	// word is a part of a word: quoted, escaped, or plain.
	word = regexp.MustCompile(`^(?:'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)|([^\s'"\\|;&<>]+))`)
	// operator ends a simple command; redirection is followed by a file.
	operator    = regexp.MustCompile(`^(?:\|\||&&|[|;])`)
	redirection = regexp.MustCompile(`^[0-9]?(?:>>|>|<)(?:&[0-9]|\s*[^\s|;&]+)`)
	variable    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)
	program     = regexp.MustCompile(`^[A-Za-z0-9_./-]+$`)
)

// parse reads a line as the shell does, as far as documents need it. Words after an ellipsis are left out.
func parse(line string) (all []Command, err error) {
	var words []string
	finish := func() {
		for _, c := range commandsOf(words) {
			if !program.MatchString(c.Words[0]) {
				err = fmt.Errorf("%q is no program", c.Words[0])
			}
			all = append(all, c)
		}
		words = nil
	}
	rest := strings.TrimSpace(line)
	for rest != "" && rest[0] != '#' {
		if m := operator.FindString(rest); m != "" {
			finish()
			rest = strings.TrimSpace(rest[len(m):])
			continue
		}
		if m := redirection.FindString(rest); m != "" {
			rest = strings.TrimSpace(rest[len(m):])
			continue
		}
		next, length := nextWord(rest)
		if length == 0 {
			return nil, fmt.Errorf("not understood from %q on", rest)
		}
		words, rest = append(words, next), strings.TrimSpace(rest[length:])
	}
	finish()
	return all, err
}

func nextWord(rest string) (text string, length int) {
	for {
		m := word.FindStringSubmatch(rest[length:])
		if m == nil {
			return text, length
		}
		text += strings.Join(m[1:], "")
		length += len(m[0])
	}
}

// commandsOf returns the command of these words, and the one of ours that it runs in a container.
func commandsOf(words []string) (all []Command) {
	var c Command
	for len(words) > 0 && variable.MatchString(words[0]) {
		c.Assigned, words = append(c.Assigned, words[0]), words[1:]
	}
	if i := slices.IndexFunc(words, func(w string) bool { return w == "…" || w == "..." }); i >= 0 {
		words = words[:i]
	}
	if len(words) == 0 {
		return nil
	}
	switch {
	case words[0] == "bin/agent" || words[0] == "/agent":
		words[0] = "agent"
	case words[0] == "bin/kubectl-bonds":
		words[0] = "kubectl-bonds"
	case words[0] == "kubectl" && len(words) > 1 && words[1] == "bonds":
		words = append([]string{"kubectl-bonds"}, words[2:]...)
	}
	c.Words = words
	all = append(all, c)
	if i := slices.Index(words, "--"); i > 0 && i+1 < len(words) && words[0] == "kubectl" {
		all = append(all, commandsOf(slices.Clone(words[i+1:]))...)
	}
	return all
}

// CommandsOf returns the commands of one program in all documents of a checkout.
func CommandsOf(root, name string) (all []Command, err error) {
	pages, err := Pages(root)
	for _, p := range pages {
		commands, _ := p.Commands() // its errors are reported by this package's own test
		for _, c := range commands {
			if c.Words[0] == name {
				all = append(all, c)
			}
		}
	}
	return all, err
}

// Validate checks a command against the command tree of its program: the subcommand, the flags and their values, and
// the arguments, unless inline code leaves them out.
func (c Command) Validate(root *cobra.Command) error {
	root.InitDefaultCompletionCmd()
	cmd, rest, err := root.Find(c.Words[1:])
	if err != nil {
		return fmt.Errorf("%s: %w", c, err)
	}
	cmd.InitDefaultHelpFlag()
	cmd.InitDefaultVersionFlag()
	if err = cmd.ParseFlags(rest); err != nil && err != pflag.ErrHelp { //nolint:errorlint // pflag returns it as it is
		return fmt.Errorf("%s: %w", c, err)
	}
	args := cmd.Flags().Args()
	if err != nil || c.Inline && len(args) == 0 {
		return nil
	}
	if err = cmd.ValidateArgs(args); err != nil {
		return fmt.Errorf("%s: %w", c, err)
	}
	return nil
}

// Examples returns the commands of one program in the examples of its help.
func Examples(root *cobra.Command, name string) (all []Command) {
	for _, cmd := range append(root.Commands(), root) {
		for line := range strings.Lines(cmd.Example) {
			commands, _ := parse(line)
			for _, c := range commands {
				if c.Words[0] == name {
					c.Page = "help of " + cmd.CommandPath()
					all = append(all, c)
				}
			}
		}
	}
	return all
}
