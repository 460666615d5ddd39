package display

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/cli"
)

// WriteText writes the explanation for a terminal.
func (e *Explanation) WriteText(w io.Writer, s Style) error {
	b := &e.Status
	fmt.Fprintf(w, "Pod %s, bond %s: %s", cli.Quote(b.Pod.String()), cli.Quote(b.Key.IfName), s.colored(string(b.State), stateColor(b.State)))
	if !b.Since.IsZero() {
		fmt.Fprintf(w, ", for %s", s.age(b.Since))
	}
	fmt.Fprintln(w)
	e.writeFindings(w)
	for _, warning := range b.Warnings {
		fmt.Fprintf(w, "  warning: %s\n", cli.Quote(warning))
	}
	if err := e.writeComparison(w, s); err != nil {
		return err
	}
	e.writePlan(w)
	e.writeHistory(w, s)
	_, err := fmt.Fprintln(w)
	return err
}

func (e *Explanation) writeFindings(w io.Writer) {
	if len(e.Findings) == 0 && e.Status.Reason != "" { // for example: no carrier, and nothing to repair
		fmt.Fprintf(w, "  %s\n", cli.Quote(e.Status.Reason))
	}
	for _, f := range e.Findings {
		fmt.Fprintf(w, "\n  %s of %s: %s\n    meaning: %s\n    to do:   %s\n", f.Code, subject(f.Member), cli.Quote(f.Text), f.Meaning, f.ToDo)
	}
}

func (e *Explanation) writeComparison(w io.Writer, s Style) error {
	var lines strings.Builder
	row := func(color, what, desired, observed, mark string) {
		fmt.Fprintf(&lines, "%s\t%s\t%s\t%s\t\n", s.colored(what, color), cli.Quote(desired), cli.Quote(observed), mark)
	}
	row(plainColor, "", "DESIRED", "OBSERVED", "")
	last := ""
	for i, c := range e.Compared {
		if i == 0 || c.Subject != last {
			row(plainColor, subject(c.Subject), "", "", "")
			last = c.Subject
		}
		color, mark := plainColor, ""
		if c.Differs {
			color, mark = red, "differs"
		}
		row(color, "  "+cli.Quote(c.Property), c.Desired, c.Observed, mark)
	}
	fmt.Fprintln(w)
	return aligned(w, lines.String())
}

func (e *Explanation) writePlan(w io.Writer) {
	fmt.Fprintf(w, "\nA reconcile now would:")
	if len(e.Plan) == 0 {
		fmt.Fprintf(w, " change nothing (%s)\n", e.Verdict)
		return
	}
	fmt.Fprintln(w)
	for _, p := range e.Plan {
		fmt.Fprintf(w, "  %s", cli.Quote(p.Action))
		if p.Because != "" {
			fmt.Fprintf(w, ", because %s", cli.Quote(p.Because))
		}
		fmt.Fprintln(w)
	}
}

func (e *Explanation) writeHistory(w io.Writer, s Style) {
	fmt.Fprintln(w, "\nLosses and repairs:")
	if len(e.Repairs)+len(e.Losses) == 0 {
		fmt.Fprintln(w, "  none")
	}
	for i := range e.Repairs {
		r := &e.Repairs[i]
		fmt.Fprintf(w, "  %s  %s repaired after %s, took %s%s\n", moment(r.At), subject(r.Member), r.Cause, took(r), lossID(r.ID))
	}
	for _, l := range e.Losses {
		fmt.Fprintf(w, "  %s  %s lost (%s), not repaired for %s%s\n", moment(l.Since), subject(l.Member), l.Cause, s.age(l.Since), lossID(l.ID))
	}
	if !e.SetUp.IsZero() {
		fmt.Fprintf(w, "The pod's set-up was complete at %s (evidence: %s).\n", moment(e.SetUp), e.Evidence)
	}
}

// lossID is the note by which the lines of a loss are found in the log.
func lossID(id string) string {
	if id == "" {
		return ""
	}
	return " (loss " + id + ")"
}

func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }
