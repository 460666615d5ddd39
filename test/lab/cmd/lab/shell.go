package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/bondkeeper/bondkeeper/test/lab"
)

// shell is the subcommand that opens a shell, or runs another command on a terminal. It has no time limit.
func shell(ctx context.Context, args []string) (err error) {
	var o options
	flags := newFlags("shell", &o)
	if err = flags.Parse(args); err != nil {
		return errors.Join(err, ignoreHelp(err))
	}
	command := flags.Args()
	if len(command) == 0 {
		command = []string{"bash"}
	}
	dir, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("lab shell: %w", err)
	}
	guest, err := o.start(ctx)
	if err != nil {
		return err
	}
	defer stop(ctx, guest, &err)
	restore, err := rawTerminal()
	if err != nil {
		return err
	}
	defer restore()
	sizes, release := terminalSizes()
	defer release()
	return guest.Run(ctx, lab.Cmd{
		Path: command[0], Args: command[1:], Dir: dir, Stdout: os.Stdout,
		Env:      append([]string{"TERM=" + os.Getenv("TERM"), `PS1=lab:\w# `}, o.env...),
		Terminal: &lab.Terminal{Input: os.Stdin, Sizes: sizes},
	})
}

// rawTerminal passes every key to the guest, including the interrupt key. restore undoes that. Without a terminal it
// does nothing.
func rawTerminal() (restore func(), err error) {
	fd := int(os.Stdin.Fd())
	if !term.IsTerminal(fd) {
		return func() {}, nil
	}
	state, err := term.MakeRaw(fd)
	if err != nil {
		return nil, fmt.Errorf("lab shell: terminal: %w", err)
	}
	return func() { _ = term.Restore(fd, state) }, nil
}

// terminalSizes sends the terminal's size, now and when it changes, until release is called.
func terminalSizes() (_ <-chan lab.Size, release func()) {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, unix.SIGWINCH)
	changed <- unix.SIGWINCH
	sizes, done, ended := make(chan lab.Size), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-changed:
			case <-done:
				return
			}
			cols, rows, err := term.GetSize(int(os.Stdin.Fd()))
			if err != nil {
				continue
			}
			select {
			case sizes <- lab.Size{Rows: uint16(rows), Cols: uint16(cols)}:
			case <-done:
				return
			}
		}
	}()
	return sizes, func() {
		signal.Stop(changed)
		close(done)
		<-ended
	}
}
