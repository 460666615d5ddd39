package lab

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/bondkeeper/bondkeeper/test/lab/internal/wire"
)

// killWait is how long a cancelled command may take to end in the guest.
const killWait = 10 * time.Second

// Cmd is a command to run in the guest.
type Cmd struct {
	// Path is the program: a path, the same as on the host, or a name to find in the PATH.
	Path string
	Args []string
	// Env has NAME=VALUE settings in addition to the guest's own: PATH as on the host, HOME, LANG.
	Env []string
	// Dir is the working directory; empty means /.
	Dir string
	// Stdout and Stderr receive the output; nil drops it. They are not written to concurrently, so they may be the same
	// writer.
	Stdout, Stderr io.Writer
	// Terminal, if set, runs the command on a terminal; all output is then on Stdout. Otherwise the command reads from
	// /dev/null.
	Terminal *Terminal
}

// Terminal is the host's side of a command's terminal.
type Terminal struct {
	// Input is what is typed. When the command has ended, the last Read stays pending and its data is lost.
	Input io.Reader
	// Sizes sends the terminal's size, at the start and when it changes; may be nil.
	Sizes <-chan Size
}

// Size is a terminal's size in characters.
type Size struct{ Rows, Cols uint16 }

// Run runs a command in the guest and waits until it ends, together with every process that it started. Any number of
// commands may run concurrently. If the context ends, the command is killed and the context's error returned. The error
// of a failed command is an *ExitError. If the guest ends meanwhile, it is a *GuestError and matches ErrGuestGone.
func (g *Guest) Run(ctx context.Context, cmd Cmd) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	stream, err := g.session.OpenStream()
	if err != nil {
		return g.broken(ctx, cmd.Path, err)
	}
	defer func() { _ = stream.Close() }()
	// Closing this half of the stream makes the guest kill the command; its half stays open for the last output and the
	// exit.
	defer context.AfterFunc(ctx, func() {
		_ = stream.SetReadDeadline(time.Now().Add(killWait))
		_ = stream.Close()
	})()
	enc := gob.NewEncoder(stream)
	req := wire.Request{Path: cmd.Path, Args: cmd.Args, Env: cmd.Env, Dir: cmd.Dir, TTY: cmd.Terminal != nil}
	if err = enc.Encode(req); err != nil {
		return g.broken(ctx, cmd.Path, err)
	}
	if cmd.Terminal != nil {
		done := make(chan struct{})
		defer close(done)
		go cmd.Terminal.forward(enc, done)
	}
	exit, err := cmd.receive(gob.NewDecoder(stream))
	if err != nil {
		return g.broken(ctx, cmd.Path, err)
	}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("lab: %s: %w", cmd.Path, ctx.Err())
	case exit.Err != "":
		return fmt.Errorf("lab: %s", exit.Err)
	case exit.Code != 0:
		return fmt.Errorf("lab: %s: %w", cmd.Path, &ExitError{Code: exit.Code, Signal: exit.Signal})
	}
	return nil
}

// receive copies a command's output until its exit.
func (cmd *Cmd) receive(dec *gob.Decoder) (*wire.Exit, error) {
	for {
		var out wire.Output
		if err := dec.Decode(&out); err != nil {
			return nil, err
		}
		if err := write(cmd.Stdout, out.Stdout); err != nil {
			return nil, &outputError{err}
		}
		if err := write(cmd.Stderr, out.Stderr); err != nil {
			return nil, &outputError{err}
		}
		if out.Exit != nil {
			return out.Exit, nil
		}
	}
}

// outputError is an error of the caller's own writer.
type outputError struct{ error }

func (e *outputError) Unwrap() error { return e.error }

// write writes unless p is empty or w is nil.
func write(w io.Writer, p []byte) error {
	if w == nil || len(p) == 0 {
		return nil
	}
	_, err := w.Write(p)
	return err
}

// broken explains why a command's stream ended before the command.
func (g *Guest) broken(ctx context.Context, path string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("lab: %s: %w", path, ctx.Err())
	}
	if output := new(outputError); errors.As(err, &output) {
		return fmt.Errorf("lab: %s: output: %w", path, err)
	}
	// The stream breaks a moment before QEMU has ended, and QEMU's end is the better explanation.
	timer := time.NewTimer(killWait)
	defer timer.Stop()
	select {
	case <-g.machine.alive.Done():
		err = g.machine.cause()
	case <-timer.C:
		err = fmt.Errorf("the channel to the guest broke: %w", err)
	}
	return g.failure(fmt.Errorf("%s: %w", path, err))
}

// forward sends input and sizes to the guest until the command has ended. An error here also breaks the command's
// output stream, and is reported there.
func (t *Terminal) forward(enc *gob.Encoder, done <-chan struct{}) {
	inputs := make(chan wire.Input)
	go func() {
		defer close(inputs)
		buf := make([]byte, 4096)
		for {
			n, err := t.Input.Read(buf)
			if err != nil {
				return
			}
			select {
			case inputs <- wire.Input{Data: append([]byte(nil), buf[:n]...)}:
			case <-done:
				return
			}
		}
	}()
	for {
		var in wire.Input
		select {
		case <-done:
			return
		case size := <-t.Sizes:
			in.Rows, in.Cols = size.Rows, size.Cols
		case data, ok := <-inputs:
			if !ok {
				return
			}
			in = data
		}
		if enc.Encode(in) != nil {
			return
		}
	}
}
