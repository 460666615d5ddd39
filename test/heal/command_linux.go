package heal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// output runs a program with stdin and returns its standard output.
func output(ctx context.Context, stdin, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}

// ip runs ip(8) with a command line as typed in a shell.
func ip(ctx context.Context, line string, args ...any) error {
	_, err := output(ctx, "", "ip", strings.Fields(fmt.Sprintf(line, args...))...)
	return err
}

// ipBatch runs several ip(8) commands in one process, in a netns ("" for the host's).
func ipBatch(ctx context.Context, netns, lines string) error {
	args := []string{"-batch", "-"}
	if netns != "" {
		args = append([]string{"-n", netns}, args...)
	}
	_, err := output(ctx, lines, "ip", args...)
	return err
}

// ipForced is ipBatch for commands that may fail.
func ipForced(ctx context.Context, netns, lines string) error {
	cmd := exec.CommandContext(ctx, "ip", "-n", netns, "-force", "-batch", "-") //nolint:gosec // the test's own names
	cmd.Stdin = strings.NewReader(lines)
	err := cmd.Run()
	var failed *exec.ExitError
	if errors.As(err, &failed) && ctx.Err() == nil {
		return nil
	}
	return err
}
