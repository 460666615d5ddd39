package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"reflect"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// clearScreen moves the cursor to the first line and clears the terminal (ECMA-48).
const clearScreen = "\x1b[H\x1b[2J"

// watchStatus prints the bonds until ctx ends: on a terminal every second on the same place, so that durations are
// right, and elsewhere when something has changed.
func watchStatus(ctx context.Context, n *node, s *statusSettings, out io.Writer) error {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	onTerminal := isTerminal(out)
	var last []bond.Status
	for first := true; ; first = false {
		var errs bytes.Buffer
		all, err := s.read(ctx, n, func(err error) { fmt.Fprintln(&errs, err) })
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if onTerminal || first || !reflect.DeepEqual(all, last) {
			if err = s.redraw(out, all, errs.Bytes(), onTerminal); err != nil {
				return err
			}
		}
		last = all
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// redraw writes all at once, so that a terminal does not flicker.
func (s *statusSettings) redraw(out io.Writer, all []bond.Status, errs []byte, onTerminal bool) error {
	var text bytes.Buffer
	if onTerminal {
		text.WriteString(clearScreen)
	}
	if err := s.write(&text, all, styleOf(out)); err != nil {
		return err
	}
	text.Write(errs)
	_, err := out.Write(text.Bytes())
	return err
}
