package display

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
	"github.com/bondkeeper/bondkeeper/pkg/cli"
)

// Style is how text is written. Wide adds columns. Color marks states with the escape sequences of ECMA-48, for
// terminals.
type Style struct {
	Wide, Color bool
	// Now is what durations end at.
	Now time.Time
}

// Colors of states (SGR). All sequences have the same length, so that cells of a column stay aligned.
const (
	plainColor, red, green, yellow = "\x1b[39m", "\x1b[31m", "\x1b[32m", "\x1b[33m"
	colorEnd                       = "\x1b[39m"
)

// colored returns a cell of a column with colors.
func (s Style) colored(text, color string) string {
	if !s.Color {
		return text
	}
	return color + text + colorEnd
}

func stateColor(s bond.State) string {
	switch s {
	case bond.StateReady:
		return green
	case bond.StateDown, bond.StateStuck:
		return red
	default:
		return yellow
	}
}

func memberColor(s bond.MemberState) string {
	if s.Carries() {
		return green
	}
	return red
}

// aligned writes lines of cells, each ended with a tab, as columns without trailing spaces.
func aligned(w io.Writer, lines string) error {
	var text strings.Builder
	t := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	if _, err := io.WriteString(t, lines); err != nil {
		return err
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(text.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// age is the time since t in seconds, minutes or hours; "-" for the zero time.
func (s Style) age(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return s.Now.Sub(t).Round(time.Second).String()
}

func took(r *bond.Repair) time.Duration { return time.Duration(r.Took) * time.Millisecond }

// subject is the name of what was lost or repaired; empty means the bond itself.
func subject(name string) string {
	if name == "" {
		return "the bond"
	}
	return cli.Quote(name)
}
