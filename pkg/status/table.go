package status

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/bondkeeper/bondkeeper/pkg/bond"
)

// WriteTable prints bonds and their members as text, with ages relative to now.
// Names come from pods: those with unprintable characters are quoted.
func WriteTable(w io.Writer, all []bond.Status, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "POD\tBOND\tSTATE\tMODE\tMAC\tMTU\tACTIVE\tREPAIRS\tLAST REPAIR")
	for i := range all {
		s := &all[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%d\t%s\n",
			quoteUnsafe(s.Pod.String()), quoteUnsafe(s.Key.IfName), s.State, s.Mode, s.MAC, s.MTU, dash(quoteUnsafe(s.Active)), s.Repairs, lastRepair(s.Last, now))
		for _, m := range s.Members {
			fmt.Fprintf(t, "\t  %s\t%s\t%s\t\t\t\t\t%s\n", quoteUnsafe(m.Name), m.State, dash(string(m.PCI)), sinceText(m.Since, now))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for i := range all {
		s := &all[i]
		if s.Reason != "" {
			fmt.Fprintf(w, "\n%s %s: %s\n", quoteUnsafe(s.Pod.String()), quoteUnsafe(s.Key.IfName), quoteUnsafe(s.Reason))
		}
		for _, warning := range s.Warnings {
			fmt.Fprintf(w, "\n%s %s: warning: %s\n", quoteUnsafe(s.Pod.String()), quoteUnsafe(s.Key.IfName), quoteUnsafe(warning))
		}
	}
	return nil
}

// quoteUnsafe quotes a name with characters that a terminal could interpret.
func quoteUnsafe(s string) string {
	q := fmt.Sprintf("%+q", s)
	if q == `"`+s+`"` {
		return s
	}
	return q
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func lastRepair(r *bond.Repair, now time.Time) string {
	if r == nil {
		return "-"
	}
	took := time.Duration(r.Took) * time.Millisecond
	subject := r.Member
	if subject == "" {
		subject = "bond"
	}
	return fmt.Sprintf("%s %s, took %s, %s ago", quoteUnsafe(subject), r.Cause, took, now.Sub(r.At).Round(time.Second))
}

func sinceText(t time.Time, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return "since " + now.Sub(t).Round(time.Second).String()
}
