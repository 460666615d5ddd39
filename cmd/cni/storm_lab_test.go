//go:build lab

package main

import (
	"bytes"
	"os/exec"
	"strings"
)

// batch runs commands of iproute2 in one process.
func (p *pod) batch(format string, names []string) {
	p.t.Helper()
	var in, problems bytes.Buffer
	for _, name := range names {
		in.WriteString(strings.ReplaceAll(format, "POD", name) + "\n")
	}
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin, cmd.Stderr = &in, &problems
	if err := cmd.Run(); err != nil {
		p.t.Fatalf("ip -batch: %v: %s", err, &problems)
	}
}
