// Command reference writes docs/reference.md: the agent's flags, the causes of losses, the metrics and the log
// messages. It reads all of them from the source code, and takes the meanings of causes and log messages from
// meanings.go. A name in the code without a meaning, or a meaning without a name in the code, is an error: go run
// ./docs/gen/reference > docs/reference.md
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	if err := write(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}

const head = `# Reference

Generated from the code (` + "`make docs`" + `). [operations.md](operations.md) explains how to use it.

## Flags of the agent

` + "`agent COMMAND -h`" + ` prints these with their defaults. A dash means that the description names the default, or that
there is none. The plugin has no flags; [options.md](options.md) lists the fields of its network config.
`

const causesHead = `
## Causes

Codes of findings, which are differences from the record. Some of them are causes of losses and repairs: the field
` + "`cause`" + ` in the log, ` + "`lastRepair.cause`" + ` on the pod, and the last repair in ` +
	"`agent status`" + `.

| cause | meaning | what to do |
|---|---|---|
`

const metricsHead = `
## Metrics

` + "`/metrics`" + ` at the address of ` + "`--listen`" + `. The metrics of the Go runtime and of the process are there as well.

| metric | type | meaning |
|---|---|---|
`

const logsHead = `
## Log messages

Lines about a bond also have the fields ` + "`bond`, `pod` and `netns`" + `. Lines about a loss and its repair have its ID in
the field ` + "`loss`" + `. Repeated warnings and errors have their number in the field ` + "`times`" + `; see
[operations.md](operations.md#logs). A field in the table may be missing if it is empty.
The plugin logs warnings and errors only, to standard error, which the container runtime writes to its own log. ADD and
DEL also use the engine of the agent, so its warnings and errors about a bond appear there, too. ADD logs each warning
about the config as a line of its own; ` + "`agent status`" + ` shows the same texts.
`

func write(w io.Writer) error {
	p, err := load()
	if err != nil {
		return err
	}
	page, err := p.page()
	if err != nil {
		return err
	}
	_, err = w.Write(page)
	return err
}

func (s *source) page() ([]byte, error) {
	s.errs = nil
	var b bytes.Buffer
	b.WriteString(head)
	s.writeFlags(&b)
	b.WriteString(causesHead)
	s.writeCauses(&b)
	b.WriteString(metricsHead)
	s.writeMetrics(&b)
	b.WriteString(logsHead)
	s.writeLogs(&b)
	return b.Bytes(), errors.Join(s.errs...)
}

// cell makes text safe in a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// code marks s as code; an empty s is a dash.
func code(s string) string {
	if s == "" {
		return "–"
	}
	return "`" + s + "`"
}
