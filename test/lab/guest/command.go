package main

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"

	"github.com/bondkeeper/bondkeeper/test/lab/internal/wire"
)

// command is one running command.
type command struct {
	cmd   *exec.Cmd
	group *group
	// terminal is the command's terminal; nil if it has none.
	terminal *os.File
	// drains are the goroutines that copy the command's output; each ends with the output.
	drains sync.WaitGroup
}

// runCommand runs one command to its end, and sends its output and exit to the host. All processes that it started end
// with it.
func runCommand(stream net.Conn, inputs *gob.Decoder, req *wire.Request, groups *groups) {
	out := &outputs{enc: gob.NewEncoder(stream)}
	group, err := groups.make()
	if err != nil {
		out.send(wire.Output{Exit: &wire.Exit{Code: -1, Err: err.Error()}})
		return
	}
	defer group.remove()
	c := &command{group: group, cmd: exec.Command(req.Path, req.Args...)}
	c.cmd.Dir = req.Dir
	if c.cmd.Dir == "" {
		c.cmd.Dir = "/"
	}
	c.cmd.Env = append(os.Environ(), req.Env...)
	if err = c.start(req, out); err != nil {
		out.send(wire.Output{Exit: &wire.Exit{Code: -1, Err: err.Error()}})
		return
	}
	var listener sync.WaitGroup
	defer listener.Wait()
	listener.Go(func() { c.listen(inputs) })
	// This ends whatever keeps the listener waiting for the host.
	defer func() { _ = stream.SetReadDeadline(time.Now()) }()
	err = c.cmd.Wait()
	// A process that still holds the pipes open would block the drains, and the host, for ever.
	if killErr := group.kill(); killErr != nil {
		out.send(wire.Output{Stderr: []byte("lab: " + killErr.Error() + "\n")})
	} else {
		c.drains.Wait()
	}
	out.send(wire.Output{Exit: exitOf(c.cmd, err)})
}

// start starts the command on a terminal or on pipes.
func (c *command) start(req *wire.Request, out *outputs) error {
	attr := &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: c.group.fd()}
	stdout := out.writer(func(p []byte) wire.Output { return wire.Output{Stdout: p} })
	stderr := out.writer(func(p []byte) wire.Output { return wire.Output{Stderr: p} })
	if req.TTY {
		attr.Setsid, attr.Setctty = true, true
		terminal, err := pty.StartWithAttrs(c.cmd, nil, attr)
		if err != nil {
			return fmt.Errorf("start %s: %w", req.Path, err)
		}
		c.terminal = terminal
		c.drain(stdout, terminal)
		return nil
	}
	attr.Setpgid = true
	c.cmd.SysProcAttr = attr
	return c.startOnPipes(stdout, stderr)
}

// startOnPipes starts the command with its own pipes: with those of exec.Cmd, Wait would wait for a daemon that
// inherited them.
func (c *command) startOnPipes(stdout, stderr io.Writer) error {
	outR, outW, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("pipe: %w", err)
	}
	defer func() { _ = outW.Close() }()
	errR, errW, err := os.Pipe()
	if err != nil {
		return errors.Join(fmt.Errorf("pipe: %w", err), outR.Close())
	}
	defer func() { _ = errW.Close() }()
	c.cmd.Stdout, c.cmd.Stderr = outW, errW
	if err := c.cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("start %s: %w", c.cmd.Path, err), outR.Close(), errR.Close())
	}
	c.drain(stdout, outR)
	c.drain(stderr, errR)
	return nil
}

// drain copies one of the command's outputs to the host until it ends. A terminal ends with EIO.
func (c *command) drain(to io.Writer, from *os.File) {
	c.drains.Go(func() {
		defer func() { _ = from.Close() }()
		_, _ = io.CopyBuffer(to, struct{ io.Reader }{from}, make([]byte, 64<<10))
	})
}

// listen receives the host's input until the host closes the stream, and then kills the command.
func (c *command) listen(inputs *gob.Decoder) {
	for {
		var in wire.Input
		if err := inputs.Decode(&in); err != nil {
			_ = c.group.kill()
			return
		}
		if c.terminal == nil {
			continue
		}
		// A command that has just ended takes no input; such errors do not matter.
		if in.Rows > 0 && in.Cols > 0 {
			_ = pty.Setsize(c.terminal, &pty.Winsize{Rows: in.Rows, Cols: in.Cols})
		}
		if len(in.Data) > 0 {
			_, _ = c.terminal.Write(in.Data)
		}
	}
}

// exitOf returns how the command ended.
func exitOf(cmd *exec.Cmd, err error) *wire.Exit {
	if cmd.ProcessState == nil {
		return &wire.Exit{Code: -1, Err: fmt.Sprint("wait: ", err)}
	}
	exit := &wire.Exit{Code: cmd.ProcessState.ExitCode()}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		exit.Signal = strings.ToLower(status.Signal().String())
	}
	return exit
}
