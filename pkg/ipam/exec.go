package ipam

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/bondkeeper/bondkeeper/pkg/netconf"
)

const (
	// outputDelay bounds the wait for the output of a plugin that has ended. A process that it started may keep
	// its standard output open for ever.
	outputDelay = 2 * time.Second
	// maxOutput bounds a plugin's output, in bytes; the rest is discarded.
	maxOutput = 1 << 20
	// beingWritten is the pause before the next call of a plugin whose binary is being replaced, triesWritten the
	// number of calls.
	beingWritten, triesWritten = time.Second, 5
)

// pluginExec runs plugins. When the context ends it kills the plugin and all that the plugin started, and returns.
// invoke.RawExec kills the plugin alone, and then waits until nothing has its standard output open.
type pluginExec struct {
	version.PluginDecoder
	stderr io.Writer
}

// FindInPath implements invoke.Exec.
func (e *pluginExec) FindInPath(plugin string, paths []string) (string, error) {
	return invoke.FindInPath(plugin, paths)
}

// ExecPlugin implements invoke.Exec.
func (e *pluginExec) ExecPlugin(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	for try := 1; ; try++ {
		out, err := e.run(ctx, path, stdin, environ)
		if !errors.Is(err, syscall.ETXTBSY) || try == triesWritten {
			return out, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(beingWritten):
		}
	}
}

func (e *pluginExec) run(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	var stdout, stderr boundedBuffer
	cmd := exec.CommandContext(ctx, path)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = environ, bytes.NewReader(stdin), &stdout, &stderr
	// Pdeathsig: if this process is killed, its lock on the bond's addresses is released, and a call that continued
	// could run at the same time as the next one. The kernel sends the signal when the thread that started the plugin
	// ends. Go ends a thread only after a netns could not be left (pkg/netns); then the call fails and is repeated.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error {
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); !errors.Is(err, syscall.ESRCH) {
			return err
		}
		return os.ErrProcessDone
	}
	cmd.WaitDelay = outputDelay
	err := runPlugin(cmd.Run)
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay): // ErrWaitDelay: it succeeded
	case cmd.Process == nil:
		return nil, fmt.Errorf("start the plugin: %w", err)
	default:
		return nil, pluginError(err, stdout.head, stderr.head)
	}
	if e.stderr != nil && len(stderr.head) > 0 {
		_, _ = e.stderr.Write(stderr.head)
	}
	return stdout.head, nil
}

// pluginError returns the error that a plugin printed, or else its exit status and output.
func pluginError(err error, stdout, stderr []byte) error {
	var printed types.Error
	if json.Unmarshal(stdout, &printed) == nil && (printed.Code != 0 || printed.Msg != "") {
		printed.Msg, printed.Details = shorten(printed.Msg), shorten(printed.Details)
		return &printed
	}
	return fmt.Errorf("%w (standard output: %s; standard error: %s)", err, netconf.Excerpt(string(stdout)), netconf.Excerpt(string(stderr)))
}

// maxError bounds the error of a plugin, which is recorded, in bytes.
const maxError = 1024

func shorten(text string) string {
	if len(text) <= maxError {
		return text
	}
	return strings.ToValidUTF8(text[:maxError], "") + "…"
}

// boundedBuffer stores the first maxOutput bytes. It accepts and discards the rest, so that the writer does not block.
type boundedBuffer struct{ head []byte }

// Write implements io.Writer.
func (b *boundedBuffer) Write(p []byte) (int, error) {
	free := maxOutput - len(b.head)
	b.head = append(b.head, p[:min(len(p), free)]...)
	return len(p), nil
}
